"""Table 13 and what it asks for: certified training with every relaxation and several seeds, best one and spread."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tightrope import figures
from tightrope.errors import InputError, UnknownNameError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.results.jovanovic2022_paradox.checkpoints import checkpoint
from tightrope.results.jovanovic2022_paradox.common import PAPER, plain_case
from tightrope.results.jovanovic2022_paradox.shapes import named
from tightrope.threads import one_torch_thread
from tightrope.training import Configuration, Schedule, accuracy, train
from tightrope.training.losses import CERTIFIER
from tightrope.workbench.cases import dataset, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_13 = "table-13-seeds"
#: Rows of our own sizes, beside those of the printed ones.
SPREAD = "training-spread"
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
NAMES = ("dataset", "architecture", "methods", "seeds", *SETTINGS)
HYBRID = "crown_ibp_hybrid"


def words(method: str) -> str:
    """A training as the paper writes it, CROWN-IBP's mixture with Box among them."""
    return "CROWN-IBP" if method == HYBRID else named(method)


@dataclass(frozen=True)
class TrainedSeeds:
    """Rows of trainings that differ in method and seed."""

    rows: tuple[dict, ...]

    def shares(self, name: str = "certified") -> dict[tuple[str, str], list[float]]:
        """(data set and architecture, method) -> percent of the test images for each seed, in the order of the rows."""
        found: dict = {}
        for row in self.rows:
            key = f"{row['dataset']} {row['architecture']}", words(row["method"])
            found.setdefault(key, []).append(100 * row[name] / row["test_images"])
        return found

    @property
    def spread(self) -> Table:
        """Certified images in percent: best seed beside mean, deviation, worst seed; and the mean accuracy."""
        right = self.shares("correct")
        lines = [
            (*key, len(part), round(float(np.mean(right[key])), 1), round(max(part), 1), round(float(np.mean(part)), 1),
             round(float(np.std(part, ddof=1)), 2) if len(part) > 1 else None, round(min(part), 1))
            for key, part in self.shares().items()
        ]  # fmt: skip
        return Table(("network", "trained with", "seeds", "accuracy", "certified: best seed", "mean", "deviation",
                      "worst seed"), tuple(lines))  # fmt: skip

    @property
    def order(self) -> dict[str, list[str]]:
        """Network -> trainings from the highest mean of certified images to the lowest."""
        means: dict = {}
        for (network, method), part in self.shares().items():
            means.setdefault(network, []).append((-float(np.mean(part)), method))
        return {network: [method for _, method in sorted(part)] for network, part in means.items()}

    def draw(self) -> figures.Drawing:
        """Draw one point for each seed."""
        panels: dict = {}
        for (network, method), part in self.shares().items():
            panels.setdefault(network, {})[method] = part
        drawing = figures.spreads(panels, "certified test images, %", "certified images of each seed")
        drawing.save(PAPER, f"{TABLE_13}.{drawn_profile(self.rows)}", self.spread)
        return drawing


def trained_seeds(
    runs: Sequence[Mapping], kind: str = SPREAD, profile: str = "quick", store: Store | None = None
) -> TrainedSeeds:
    """Train and certify: each run with all its methods and seeds, everything else the same.

    Parameters
    ----------
    runs
        Each names dataset, architecture, methods (of :data:`tightrope.training.losses.METHODS`) and seeds, and what
        differs from :data:`SETTINGS`. A number of images above that of the data set means all.
    kind
        :data:`TABLE_13` for the printed sizes, :data:`SPREAD` for others: under which name the rows are kept.
    """
    return TrainedSeeds(solved(seed_cases(runs, kind, profile), train_seed, store))


def seed_cases(runs: Sequence[Mapping], kind: str, profile: str) -> list[dict]:
    """One case for each run, method and seed."""
    for name in (name for run in runs for name in run):
        if name not in NAMES:
            raise UnknownNameError("setting of a run", name, NAMES)
    for run in runs:
        if lacking := [name for name in ("dataset", "architecture", "methods", "seeds") if name not in run]:
            raise InputError(f"runs: a run lacks {', '.join(lacking)}, got {run!r}.")
    return [
        plain_case(kind, profile, dataset=run["dataset"], architecture=run["architecture"], method=method, seed=seed,
                   **{name: run.get(name, value) for name, value in SETTINGS.items()})
        for run in runs
        for method in run["methods"]
        for seed in run["seeds"]
    ]  # fmt: skip


@checked()
def table_13_cases(parameters: Mapping) -> list[dict]:
    """The cases of the notebook of Table 13: our sizes, then the printed ones."""
    ours = seed_cases(parameters["runs"], SPREAD, parameters["profile"])
    return ours + seed_cases(parameters["printed_runs"], TABLE_13, parameters["profile"])


def configuration(case: Mapping) -> Configuration:
    """The training of a case."""
    schedule = Schedule(
        case["epochs"], case["warm_up"], case["ramp_up"], case["epsilon_pixel"], kappa_end=case["kappa_end"],
        learning_rate=case["learning_rate"], learning_rates=case["learning_rates"],
    )  # fmt: skip
    return Configuration(case["architecture"], case["method"], schedule, case["batch_size"], l1=case["l1"],
                         elision=case["elision"], seed=case["seed"])  # fmt: skip


def train_seed(case: Mapping) -> dict:
    """Train one network, on the GPU if there is one, and certify the test images by its own relaxation."""
    start = time.process_time()
    data = dataset(case["dataset"], "train")
    data = replace(data, images=data.images[: case["images"]], labels=data.labels[: case["images"]])
    with checkpoint(case) as file:
        trained = train(configuration(case), data, checkpoint=file)
    test = dataset(case["dataset"])
    test = replace(test, images=test.images[: case["test_images"]], labels=test.labels[: case["test_images"]])
    to_input = test.normalisation.to_input
    ends = (np.clip(test.images + side * case["epsilon_pixel"], 0, 1) for side in (-1, 1))
    boxes, right = InputSet.boxes(*map(to_input, ends)), trained.network.predict(to_input(test.images)) == test.labels
    with one_torch_thread():
        found = certify(trained.network, boxes, test.labels, CERTIFIER[case["method"]], elision=case["elision"],
                        consider=right, batch=100)  # fmt: skip
    return {
        "correct": round(accuracy(trained.network, test) * len(test)),
        "certified": int(found.certified.sum()),
        "losses": [round(loss, 5) for loss in trained.losses],
        "network_sha256": trained.network.sha256(),
        "seconds": round(time.process_time() - start, 1),
    }


def table_13_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """`table-13/mnist-fc/seed-10` and so on, with mean and stddev once all seeds are there; printed sizes only."""
    values, shares = {}, {}
    for row in rows:
        if row["result"] == TABLE_13:
            network = f"{row['dataset']}-{row['architecture'].lower()}"
            share = 100 * row["certified"] / row["test_images"]
            values[f"table-13/{network}/seed-{row['seed']}"] = Value(round(share, 2))
            shares.setdefault(network, []).append(share)
    for run in parameters["printed_runs"]:
        network = f"{run['dataset']}-{run['architecture'].lower()}"
        part = shares.get(network, [])
        if len(part) == len(run["seeds"]) > 1:
            values[f"table-13/{network}/mean"] = Value(round(float(np.mean(part)), 2))
            values[f"table-13/{network}/stddev"] = Value(round(float(np.std(part, ddof=1)), 2))
    return values
