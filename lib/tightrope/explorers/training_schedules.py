"""Explorer of the printed training configurations: what changes from epoch to epoch."""

from typing import Annotated

import numpy as np

from tightrope import figures
from tightrope.explorers.controls import choice, page
from tightrope.explorers.explorer import View, explores
from tightrope.results.jovanovic2022_paradox.common import TRAININGS
from tightrope.training.printed import CONFIGURATIONS, configuration
from tightrope.workbench.tables import Table

_PRINTED = sorted({(name, radius) for known in CONFIGURATIONS.values() for name, radius, _ in known})
_NETWORKS = [(f"{name}, {radius:.4g}", (name, radius)) for name, radius in _PRINTED]
_TRAININGS = [(words, name) for name, words in TRAININGS.items()]


@explores("training")
def schedules(
    dataset: Annotated[str, lambda value: choice(value, CONFIGURATIONS, "data set")] = "mnist",
    network: Annotated[tuple[str, float], lambda value: choice(value, _NETWORKS, "network")] = ("FC", 0.3),
    training: Annotated[str, lambda value: choice(value, _TRAININGS, "trained with")] = "box",
) -> View:
    """Explore radius, weight of the natural loss and learning rate of the paper's trainings, over the epochs.

    The network is its name and the radius that it is certified at, in pixel units; data set and training are those of
    :func:`tightrope.training.printed.configuration`.
    """
    one = configuration(dataset, *network, training)
    schedule, epochs = one.schedule, np.arange(one.schedule.epochs + 1)
    courses = {
        "radius": [schedule.epsilon_at(epoch) for epoch in epochs],
        "natural loss": [schedule.kappa_at(epoch) for epoch in epochs],
        "learning rate": [schedule.learning_rate_at(int(epoch)) for epoch in epochs],
    }
    panels = {name: {"course": (epochs, values)} for name, values in courses.items()}
    png = figures.curves(panels, ("epoch", ""), "what changes during training")._repr_png_()
    facts = (
        ("epochs", schedule.epochs),
        ("warm-up, ramp-up", f"{schedule.warm_up}, {schedule.ramp_up}"),
        ("epsilon of training", f"{schedule.epsilon:.4g}"),
        ("batch", one.batch_size),
        ("L1 weight", f"{one.l1:g}"),
        ("last-layer elision", "yes" if one.elision else "no"),
    )
    about = f"{dataset}, {network[0]}, {network[1]:.4g}, {TRAININGS[training]}"
    text = f"{about}: " + ", ".join(f"{name} {value}" for name, value in facts)
    return View(png, page(about, [], Table(("setting", "value"), facts)), text)
