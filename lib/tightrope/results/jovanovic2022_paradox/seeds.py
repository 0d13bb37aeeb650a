"""Table 13 and what it asks for: certified training with every relaxation and several seeds, best one and spread."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from tightrope import figures
from tightrope.datasets import Dataset
from tightrope.errors import InputError, UnknownNameError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.threads import one_torch_thread
from tightrope.training import Configuration, Schedule, accuracy, train
from tightrope.training.losses import CERTIFIER
from tightrope.workbench.cases import dataset
from tightrope.workbench.experiment import Case, Cases, Experiment, Rows, Table, Value, Values
from .common import PAPER, TITLES, best_mean, checkpoint

#: Trainings of our own sizes, and those of the printed ones.
training_spread = Experiment(PAPER, "training-spread")
table_13 = Experiment(PAPER, "table-13-seeds", needs=[training_spread], may_be_empty=True)
#: What a run has beside its data set, architecture, methods and seeds, with the values of Table 6 for Box, FC, 0.3.
SETTINGS = {
    "images": 60_000,
    "test_images": 10_000,
    "epsilon_pixel": 0.3,
    "epochs": 200,
    "warm_up": 10,
    "ramp_up": 100,
    "kappa_end": 0.0,
    "l1": 5e-6,
    "learning_rate": 5e-4,
    "learning_rates": "milestones",
    "batch_size": 100,
    "elision": True,
}
REQUIRED = ("dataset", "architecture", "methods", "seeds")


@training_spread.cases
def cases(runs: Sequence[Mapping]) -> Cases:
    """Yield one case for each run, method and seed.

    Each run names dataset, architecture, methods (of :data:`tightrope.training.losses.METHODS`) and seeds, and what
    differs from :data:`SETTINGS`. A number of images above that of the data set means all.
    """
    for run in runs:
        for name in run:
            if name not in (*REQUIRED, *SETTINGS):
                raise UnknownNameError("setting of a run", name, (*REQUIRED, *SETTINGS))
        if missing := [name for name in REQUIRED if name not in run]:
            raise InputError(f"runs: each run needs {', '.join(REQUIRED)}; {', '.join(missing)} missing in {run!r}.")
    for run in runs:
        for method, seed in product(run["methods"], run["seeds"]):
            about = {"dataset": run["dataset"], "architecture": run["architecture"], "method": method, "seed": seed}
            yield about | {name: run.get(name, value) for name, value in SETTINGS.items()}


@table_13.cases
def printed_cases(printed_runs: Sequence[Mapping]) -> Cases:
    """Return the same for runs at the printed sizes."""
    return cases(printed_runs)


def configuration(case: Case) -> Configuration:
    """Return the training of a case."""
    course = ("epochs", "warm_up", "ramp_up", "kappa_end", "learning_rate", "learning_rates")
    schedule = Schedule(epsilon=case["epsilon_pixel"], **{name: case[name] for name in course})
    options = {name: case[name] for name in ("architecture", "method", "batch_size", "l1", "elision", "seed")}
    return Configuration(schedule=schedule, **options)


def _first(case: Case, split: str, count: str) -> Dataset:
    found, first = dataset(case["dataset"], split), slice(case[count])
    return replace(found, images=found.images[first], labels=found.labels[first])


@table_13.solve
@training_spread.solve
def train_and_certify(case: Case) -> dict:
    """Train one network, on the GPU if there is one, and certify the test images by its own relaxation."""
    start = time.process_time()
    data, test = (_first(case, split, name) for split, name in (("train", "images"), ("test", "test_images")))
    with checkpoint(case) as file:
        trained = train(configuration(case), data, checkpoint=file)
    to_input = test.normalisation.to_input
    ends = (np.clip(test.images + side * case["epsilon_pixel"], 0, 1) for side in (-1, 1))
    boxes, right = InputSet.boxes(*map(to_input, ends)), trained.network.predict(to_input(test.images)) == test.labels
    options = dict(elision=case["elision"], consider=right, batch=100)
    with one_torch_thread():
        found = certify(trained.network, boxes, test.labels, CERTIFIER[case["method"]], **options)
    return {
        "correct": round(accuracy(trained.network, test) * len(test)),
        "certified": int(found.certified.sum()),
        "losses": [round(loss, 5) for loss in trained.losses],
        "network_sha256": trained.network.sha256(),
        "seconds": round(time.process_time() - start, 1),
    }


def percents_by_seed(rows: Rows, name: str) -> dict[str, dict[str, list[float]]]:
    """Return data set and architecture -> method -> percent of the test images for each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        network = found.setdefault(f"{row['dataset']} {row['architecture']}", {})
        network.setdefault(TITLES[row["method"]], []).append(100 * row[name] / row["test_images"])
    return found


@table_13.table
def spread(rows: Rows) -> Table:
    """Return the certified images in percent at our sizes."""
    return _spread(rows.where(result=training_spread.name))


@table_13.table
def printed_spread(rows: Rows) -> Table:
    """Return the same at the printed sizes."""
    return _spread(rows.where(result=table_13.name))


def _spread(rows: Rows) -> Table:
    """Return certified images in percent: best seed beside mean, deviation, worst seed; and the mean accuracy."""
    correct, lines = percents_by_seed(rows, "correct"), []
    for network, by_method in percents_by_seed(rows, "certified").items():
        for method, shares in by_method.items():
            deviation = round(float(np.std(shares, ddof=1)), 2) if len(shares) > 1 else None
            ends = round(max(shares), 1), round(float(np.mean(shares)), 1), deviation, round(min(shares), 1)
            lines.append((network, method, len(shares), round(float(np.mean(correct[network][method])), 1), *ends))
    certified = ("certified %: best seed", "mean %", "deviation %", "worst seed %")
    return Table(("network", "trained with", "seeds", "accuracy %", *certified), lines)


@table_13.table
def order(rows: Rows) -> dict[str, list[str]]:
    """Return network -> trainings from the highest mean of certified images to the lowest, at our sizes."""
    found = percents_by_seed(rows.where(result=training_spread.name), "certified")
    return {name: sorted(part, key=lambda method: (-np.mean(part[method]), method)) for name, part in found.items()}


@table_13.drawing(spread)
def draw(rows: Rows) -> figures.Drawing:
    """Draw one point for each seed, at our sizes."""
    found = percents_by_seed(rows.where(result=training_spread.name), "certified")
    panels = {name.replace(", FC ", "-"): own for name, own in found.items()}  # "FC 50-50-10"
    drawing = figures.spreads(panels, "certified test images, %", "certified images of each seed")
    return drawing.saying(best_mean(panels))


@table_13.cells
def cells(rows: Rows, printed_runs: Sequence[Mapping]) -> Values:
    """Yield `table-13/mnist-fc/seed-10` and so on, of the printed sizes; mean and stddev once all seeds are there."""
    seeds = {(run["dataset"], run["architecture"]): len(run["seeds"]) for run in printed_runs}
    for (data, architecture), own in rows.where(result=table_13.name).by("dataset", "architecture"):
        prefix = f"table-13/{data}-{architecture.lower()}"
        shares = {row["seed"]: 100 * row["certified"] / row["test_images"] for row in own}
        yield from ((f"{prefix}/seed-{seed}", Value(round(percent, 2))) for seed, percent in shares.items())
        if len(own) == seeds.get((data, architecture)) and len(own) > 1:
            percents = list(shares.values())
            yield f"{prefix}/mean", Value(round(float(np.mean(percents)), 2))
            yield f"{prefix}/stddev", Value(round(float(np.std(percents, ddof=1)), 2))
