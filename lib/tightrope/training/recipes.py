"""How each network of data/models is trained: the table behind `tightrope train-zoo`.

Random numbers come from seeds, so the same seed gives the same weights on the same machine and library versions. The
last weights are kept, and the test split is used for the stated accuracy only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tightrope import datasets, paths
from tightrope.datasets import Dataset
from tightrope.errors import InputError, UnknownNameError
from tightrope.files import replace_text
from tightrope.networks import FeedForward, MonDEQ
from tightrope.training.certified import Configuration, train
from tightrope.training.plain import spheres, train_mondeq, train_relu
from tightrope.training.schedules import Schedule
from tightrope.training.tightness import TABLE_3, TightnessNetwork

Network = MonDEQ | FeedForward
#: Called with the number of the epoch, from 1, and its mean loss.
Progress = Callable[[int, float], None]
#: Trains a network; takes the file of its checkpoint, and what is told of each epoch.
Training = Callable[[Path, Progress | None], Network]


def accuracy(network: Network, dataset: Dataset) -> float:
    """Return the share of images, from 0 to 1, that the network labels rightly."""
    predicted = network.predict(dataset.normalisation.to_input(dataset.images))
    return float(np.mean(predicted == dataset.labels))


@dataclass(frozen=True)
class Recipe:
    """How one network of data/models, ``<data set>/<network>``, is trained.

    `words` say it in short; `test` returns the share, from 0 to 1, of unseen inputs that a network labels rightly;
    `quick` recipes take minutes at most on one core, and nothing that is not embedded; `printed` trains as the paper
    prints it, where that differs; `stored_as` is the type of the numbers in the file: the network is what it says.
    """

    name: str
    sizes: tuple[int, ...]
    words: str
    train: Training
    test: Callable[[Network], float]
    quick: bool = True
    printed: Training | None = None
    stored_as: str = "float64"

    def row(self, network: Network) -> str:
        """Return the line of README.md: name, sizes, training, test accuracy, first digits of the hash."""
        sizes = " -> ".join(map(str, self.sizes))
        share, digits = 100 * self.test(network), network.sha256()[:16]
        return f"| `{self.name}` | {sizes} | {self.words} | {share:.2f} % | `{digits}` |"


# monDEQs and ReLU networks of one hidden layer -----------------------------------------------------


def _unseen(dataset: str, network: Network) -> float:
    return accuracy(network, datasets.load(dataset))


def _mondeq(width: int, m: float) -> Recipe:
    name = f"digits/mondeq-{width}"

    def run(_: Path, progress: Progress | None) -> MonDEQ:
        return train_mondeq(datasets.load("digits", "train"), width, m, seed=0, name=name, progress=progress)

    return Recipe(name, (64, width, 10), f"m = {m:g}, 40 epochs, seed 0", run, partial(_unseen, "digits"))


def _spheres(size: int) -> Recipe:
    name = f"spheres/relu-{size}"

    def run(_: Path, progress: Progress | None) -> FeedForward:
        return train_relu(*spheres(20_000, size, seed=0), size, seed=0, name=name)

    def test(network: Network) -> float:
        points, labels = spheres(10_000, size, seed=1)
        return float(np.mean((network.logits(points)[:, 0] > 0) == labels))

    return Recipe(name, (size, size, 1), "20,000 points, 30 epochs, seed 0", run, test)


def _relu() -> Recipe:
    name = "digits/relu-16"

    def run(_: Path, progress: Progress | None) -> FeedForward:
        data = datasets.load("digits", "train")
        x = data.normalisation.to_input(data.images)
        return train_relu(x, data.labels, 16, seed=0, epochs=40, batch_size=64, learning_rate=1e-2, name=name)

    return Recipe(name, (64, 16, 10), "40 epochs, seed 0", run, partial(_unseen, "digits"))


# networks trained by a configuration ---------------------------------------------------------------

#: The end of the name of a network for digits -> how it is trained: as in Table 2 of jovanovic2022-paradox, with a
#: natural and an adversarial training beside.
DIGITS_METHODS: Mapping[str, str] = {
    "box": "box",
    "hbox": "hbox",
    "crown-ibp-r": "crown_ibp",
    "deepz": "deepz",
    "crown": "crown",
    "crown-ibp": "crown_ibp_hybrid",
    "natural": "natural",
    "pgd": "pgd",
}


def digits_configuration(method: str) -> Configuration:
    """Return the one configuration of all networks for digits, but for the method."""
    return Configuration(
        architecture="FC 50, FC 50, FC 50, FC 10",
        method=method,
        schedule=Schedule(epochs=60, warm_up=2, ramp_up=30, epsilon=0.1, learning_rate=3e-3),
        batch_size=50,
        l1=5e-6,
        attack_steps=10,
        attack_step=0.02,
        seed=0,
    )


def _configured(
    name: str, configuration: Configuration, device: str | None, checkpoint: Path, progress: Progress | None
) -> FeedForward:
    data = datasets.load(name.split("/")[0], "train")
    return train(configuration, data, checkpoint=checkpoint, progress=progress, device=device, name=name).network


def _digits(ending: str, method: str) -> Recipe:
    name = f"digits/fc-{ending}"
    run = partial(_configured, name, digits_configuration(method), "cpu")
    return Recipe(name, (64, 50, 50, 50, 10), f"`{method}`, 60 epochs, seed 0", run, partial(_unseen, "digits"))


def _tightness(experiment: TightnessNetwork) -> Recipe:
    name, ours, printed = experiment.name, experiment.ours, experiment.printed
    words = f"{experiment.experiment}: {ours.schedule.epochs} epochs"
    if ours.schedule.epochs != printed.schedule.epochs:
        words += f" (printed: {printed.schedule.epochs})"
    if ours.l2 != printed.l2:
        words += f", no L2 (printed: {printed.l2:g})"
    if ours.method == "pgd":
        attacks = [f"{one.attack_steps} of {one.attack_step:g}" for one in (ours, printed)]
        words += f", PGD steps {attacks[0]} (printed: {attacks[1]})"
    return Recipe(
        name,
        experiment.sizes,
        f"{words}, seed {ours.seed}",
        partial(_configured, name, ours, None),
        partial(_unseen, experiment.dataset),
        quick=False,
        printed=partial(_configured, name, printed, None),
        stored_as="float16",
    )


_ALL = (
    _mondeq(16, m=20.0),
    _mondeq(32, m=1.0),
    _relu(),
    _spheres(10),
    _spheres(80),
    *(_digits(ending, method) for ending, method in DIGITS_METHODS.items()),
    *map(_tightness, TABLE_3.values()),
)
#: All recipes by the name of their network.
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}

#: Files of data/models that no recipe makes, and why.
WITHOUT_RECIPE: Mapping[str, str] = {
    "elsewhere/digits-mlp.pt": "stands for a network made without Tightrope; `train.py` beside it trains it",
    "elsewhere/digits-cnn.onnx": "stands for a network made without Tightrope; `train.py` beside it trains it",
    "elsewhere/digits-0.vnnlib": "a question about these two networks",
}


def train_zoo(
    names: Sequence[str] = (),
    folder: Path | None = None,
    *,
    printed: bool = False,
    checkpoints: Path | None = None,
    progress: Callable[[str, int, float], None] | None = None,
) -> list[Path]:
    """Train networks of data/models again, write ``<folder>/<name>.npz``, and renew their lines of its README.md.

    Without names of :data:`RECIPES` it is the quick ones; `printed` asks for the printed epochs and attack, for
    networks that have others. A training by a configuration that is stopped continues after its last epoch, from
    `checkpoints`. `progress` is called with the name, the number of the epoch, from 1, and its mean loss. Returns the
    files written.
    """
    for name in names:
        if name not in RECIPES:
            raise UnknownNameError("recipe", name, RECIPES)
        if printed and RECIPES[name].printed is None:
            raise InputError(f"printed: {name} has one recipe only; leave --printed out.")
    folder = paths.MODELS if folder is None else Path(folder)
    checkpoints = paths.CHECKPOINTS if checkpoints is None else Path(checkpoints)
    written = []
    for recipe in [RECIPES[name] for name in names] or [recipe for recipe in _ALL if recipe.quick]:
        checkpoint = checkpoints / f"{recipe.name.replace('/', '-')}{'-printed' if printed else ''}.pt"
        training = recipe.printed if printed and recipe.printed else recipe.train
        network = training(checkpoint, partial(progress, recipe.name) if progress else None)
        file = folder / f"{recipe.name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(network, FeedForward):
            network.to_npz(file, recipe.stored_as)
        else:
            network.to_npz(file)
        checkpoint.unlink(missing_ok=True)
        _renew(folder / "README.md", recipe.name, recipe.row(type(network).from_npz(file)))
        written.append(file)
    return written


def _renew(page: Path, name: str, row: str) -> None:
    """Put the line of a network in the place of its old one, or at the end."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.is_file() else []
    place = next((i for i, line in enumerate(lines) if line.startswith(f"| `{name}` |")), len(lines))
    lines[place : place + 1] = [row]
    replace_text(page, "\n".join(lines) + "\n")
