"""Training: monDEQs of the zoo, and feed-forward networks naturally, adversarially or by any relaxation."""

from tightrope.training.architectures import ARCHITECTURES, Architecture
from tightrope.training.certified import Configuration, Trained, train
from tightrope.training.plain import train_mondeq
from tightrope.training.recipes import RECIPES, WITHOUT_RECIPE, Recipe, accuracy, train_zoo
from tightrope.training.schedules import Schedule

__all__ = [
    "ARCHITECTURES",
    "RECIPES",
    "WITHOUT_RECIPE",
    "Architecture",
    "Configuration",
    "Recipe",
    "Schedule",
    "Trained",
    "accuracy",
    "train",
    "train_mondeq",
    "train_zoo",
]
