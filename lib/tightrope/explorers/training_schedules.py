"""Explorer of the printed training configurations: what changes from epoch to epoch."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.explorers.controls import choice, page
from tightrope.explorers.explorer import Explorer, View
from tightrope.results.jovanovic2022_paradox.common import TRAININGS
from tightrope.training import Configuration
from tightrope.training.printed import CONFIGURATIONS, configuration
from tightrope.workbench.tables import Table

CONTROLS = ("dataset", "network", "training")


@dataclass(frozen=True, eq=False)
class Course:
    """A printed configuration and the name that it is shown under."""

    name: str
    configuration: Configuration


def schedules(
    dataset: str = "mnist",
    network: tuple[str, float] = ("FC", 0.3),
    training: str = "box",
    *,
    controls: Iterable[str] = CONTROLS,
    background: bool = True,
) -> Explorer:
    """Explore radius, weight of the natural loss and learning rate of the paper's trainings.

    Parameters
    ----------
    dataset, training
        As in :func:`tightrope.training.printed.configuration`.
    network
        Its name and the radius that it is certified at, in pixel units.
    controls
        Which of these can be moved.
    """
    fixed = dict(dataset=dataset, network=(str(network[0]), float(network[1])), training=training)
    configuration(dataset, *fixed["network"], training)  # an unknown name is refused here
    networks = sorted({(n, radius) for known in CONFIGURATIONS.values() for n, radius, _ in known})
    makers = {
        "dataset": lambda v: choice(v, CONFIGURATIONS, "data set"),
        "network": lambda v: choice(v, [(f"{n}, {radius:.4g}", (n, radius)) for n, radius in networks], "network"),
        "training": lambda v: choice(v, [(words, name) for name, words in TRAININGS.items()], "trained with"),
    }
    return Explorer.around(
        fixed, makers, controls, "training", lambda state, stop: _stages(state), course_view, background
    )


def _stages(state: Mapping) -> Iterator[Course]:
    (network, radius), training = state["network"], state["training"]
    found = configuration(state["dataset"], network, radius, training)
    yield Course(f"{state['dataset']}, {network}, {radius:.4g}, {TRAININGS[training]}", found)


def course_view(answer: Course) -> View:
    """Three curves over the epochs, and the numbers of the configuration."""
    one, schedule = answer.configuration, answer.configuration.schedule
    epochs = np.arange(schedule.epochs + 1)
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
    text = f"{answer.name}: " + ", ".join(f"{name} {value}" for name, value in facts)
    return View(png, page(answer.name, [], Table(("setting", "value"), facts)), text)
