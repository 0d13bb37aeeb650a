"""Table 14 and Figure 7 c: a small network trained with seven relaxations, two of them linear programs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tightrope import figures
from tightrope.datasets import Dataset, Normalisation
from tightrope.errors import InputError, UnknownNameError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.results.jovanovic2022_paradox.checkpoints import checkpoint
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, PAPER, plain_case
from tightrope.results.jovanovic2022_paradox.shapes import PROGRAMS, named
from tightrope.threads import one_torch_thread
from tightrope.training import Configuration, Schedule, accuracy, train
from tightrope.verifiers.triangle import layerwise_bounds
from tightrope.workbench.cases import dataset, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_14 = "table-14-triangle-parallelogram"
METHODS = (*CERTIFIERS, *PROGRAMS)
#: Units of the principal components: those of the pixels, or each component divided by its deviation.
SCALINGS = ("plain", "whitened")


@cache
def principal_components(name: str, images: int, components: int, seed: int, scaling: str = "plain") -> Dataset:
    """Random training images by their first principal components, in the units that `scaling` names.

    The components are real numbers; they are kept scaled to [0, 1] as a data set's pixels, with the normalisation that
    brings them back. So a radius is in component units after that normalisation.
    """
    data = dataset(name, "train")
    if not 1 <= components <= min(images, data.images.shape[1]) or images > len(data):
        raise InputError(
            f"images={images}, components={components}: {name} has {len(data)} images of {data.images.shape[1]} pixels."
        )
    if scaling not in SCALINGS:
        raise UnknownNameError("scaling", scaling, SCALINGS)
    rows = np.random.default_rng(seed).choice(len(data), images, replace=False)
    centered = data.images[rows] - data.images[rows].mean(0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    # The sign of an axis is free: its largest entry is made positive.
    axes = axes[:components] * np.sign(axes[np.arange(components), np.abs(axes[:components]).argmax(1)])[:, None]
    features = centered @ axes.T
    if scaling == "whitened":
        features = features / features.std(0)
    low, high = features.min(), features.max()
    normalisation = Normalisation(mean=-low / (high - low), std=1 / (high - low))
    scaled = np.clip((features - low) / (high - low), 0, 1)
    return Dataset(f"{name}-pca-{components}", scaled, data.labels[rows], (1, components), normalisation)


@dataclass(frozen=True)
class Table14:
    """Rows of Table 14."""

    rows: tuple[dict, ...]

    @property
    def results(self) -> Table:
        """Accuracy, certified images and last loss of each relaxation; mean and spread over the seeds."""
        lines = []
        for scaling, method in dict.fromkeys((row["scaling"], row["method"]) for row in self.rows):
            rows = [row for row in self.rows if (row["scaling"], row["method"]) == (scaling, method)]
            shares = [100 * row["certified"] / row["images"] for row in rows]
            spread = round(float(np.std(shares, ddof=1)), 2) if len(shares) > 1 else None
            right = np.mean([100 * row["correct"] / row["images"] for row in rows])
            loss = np.mean([row["losses"][-1] for row in rows])
            best, mean = round(max(shares), 2), round(float(np.mean(shares)), 2)
            lines.append((scaling, named(method), len(rows), round(float(right), 2), best, mean, spread,
                          round(float(loss), 3)))  # fmt: skip
        columns = ("components", "relaxation", "seeds", "accuracy", "certified: best seed", "mean", "spread",
                   "last loss")  # fmt: skip
        return Table(columns, tuple(lines))

    @property
    def final_losses(self) -> Table:
        """Training loss of the first seed: where the ramp-up ends, and at the end, from the lowest to the highest."""
        first: dict = {}
        for row in self.rows:
            first.setdefault((row["scaling"], row["method"]), row)
        lines = [
            (scaling, named(method), *(round(row["losses"][at], 4) for at in (row["warm_up"] + row["ramp_up"], -1)))
            for (scaling, method), row in first.items()
        ]
        columns = ("components", "relaxation", "loss after the ramp-up", "last loss")
        return Table(columns, tuple(sorted(lines, key=lambda line: (line[0], line[-1]))))

    def draw(self, name: str = TABLE_14) -> figures.Drawing:
        """Draw the loss after the ramp-up, of the first seed, a panel for each scaling."""
        panels: dict = {}
        for row in self.rows:
            after = row["warm_up"] + row["ramp_up"]
            lines = panels.setdefault(f"{row['scaling']} components", {})
            lines.setdefault(named(row["method"]), (list(range(after, row["epochs"])), row["losses"][after:]))
        drawing = figures.curves(panels, ("epoch", "training loss after the ramp-up"), "training loss")
        drawing.save(PAPER, f"{name}.{drawn_profile(self.rows)}", self.results)
        return drawing


def table_14(
    dataset: str,
    images: int = 1024,
    components: int = 16,
    neurons: int = 20,
    epsilon: float = 0.3,
    epochs: int = 110,
    warm_up: int = 10,
    ramp_up: int = 50,
    batch_size: int = 64,
    learning_rate: float = 5e-3,
    scalings: Sequence[str] = SCALINGS,
    seeds: Sequence[int] = (0,),
    program_seeds: Sequence[int] = (0,),
    methods: Sequence[str] = METHODS,
    profile: str = "quick",
    store: Store | None = None,
) -> Table14:
    """Table 14 (and Figure 7 c): two hidden layers, trained and certified with each relaxation on its training images.

    Parameters
    ----------
    dataset
        Whose training images are projected.
    images, components
        How many random images, and onto how many principal components.
    neurons
        Of each hidden layer.
    epsilon
        L-infinity radius, in component units; not cut to a range.
    epochs, warm_up, ramp_up, batch_size, learning_rate
        As in :class:`tightrope.training.Schedule`. The paper does not print the learning rate.
    scalings
        Of :data:`SCALINGS`. The paper does not print how the components are scaled, and so not what a radius means.
    seeds, program_seeds
        Of the relaxations of two lines, and of Triangle and Parallelogram, which cost fifty times as much.
    """
    parameters = {name: value for name, value in locals().items() if name != "store"}
    return Table14(solved(table_14_cases(parameters), train_one, store))


@checked()
def table_14_cases(parameters: Mapping) -> list[dict]:
    """One case per seed and relaxation."""
    names = ("dataset", "images", "components", "neurons", "epsilon", "epochs", "warm_up", "ramp_up", "batch_size",
             "learning_rate")  # fmt: skip
    for scaling in parameters["scalings"]:
        if scaling not in SCALINGS:
            raise UnknownNameError("scaling", scaling, SCALINGS)
    return [
        plain_case(
            TABLE_14, parameters["profile"], **{name: parameters[name] for name in names}, scaling=scaling,
            method=method, seed=seed,
        )
        for scaling in parameters["scalings"]
        for method in parameters.get("methods", METHODS)
        for seed in parameters["program_seeds" if method in PROGRAMS else "seeds"]
    ]  # fmt: skip


def train_one(case: Mapping) -> dict:
    """Train one network and certify it with the same relaxation on the same images."""
    start = time.process_time()
    data = principal_components(case["dataset"], case["images"], case["components"], 0, case["scaling"])
    scale = data.normalisation.std  # component units -> the unit of the scaled components
    schedule = Schedule(case["epochs"], case["warm_up"], case["ramp_up"], case["epsilon"] * scale,
                        learning_rate=case["learning_rate"], learning_rates="constant")  # fmt: skip
    architecture = f"FC {case['neurons']}, FC {case['neurons']}, FC 10"
    configuration = Configuration(
        architecture, case["method"], schedule, case["batch_size"], clip=False, seed=case["seed"]
    )
    with checkpoint(case) as file:
        trained = train(configuration, data, checkpoint=file, device="cpu")
    x = data.normalisation.to_input(data.images)
    correct = trained.network.predict(x) == data.labels
    lower, upper = x - case["epsilon"], x + case["epsilon"]
    with one_torch_thread():
        if case["method"] in PROGRAMS:
            certified = np.zeros_like(correct)
            for n in np.flatnonzero(correct):
                label = int(data.labels[n])
                margins = layerwise_bounds(trained.network, lower[n], upper[n], label, case["method"]).margins
                certified[n] = (np.delete(margins, label) < 0).all()
        else:
            boxes = InputSet.boxes(lower, upper)
            certified = certify(trained.network, boxes, data.labels, case["method"], consider=correct).certified
    return {
        "correct": round(accuracy(trained.network, data) * len(data)),
        "certified": int(certified.sum()),
        "losses": [round(loss, 6) for loss in trained.losses],
        "network_sha256": trained.network.sha256(),
        "seconds": round(time.process_time() - start, 2),
    }


def table_14_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """`table-14/box/certified` and `table-14/box/accuracy`: the mean over the seeds with plain components.

    The note has the range, and the mean with whitened components.
    """
    values = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        for name, source in (("accuracy", "correct"), ("certified", "certified")):
            shares = {
                scaling: [100 * row[source] / row["images"] for row in rows
                          if (row["method"], row["scaling"]) == (method, scaling)]
                for scaling in SCALINGS
            }  # fmt: skip
            plain, white = (shares[scaling] for scaling in SCALINGS)
            if plain:
                note = "one seed"
                if len(plain) > 1:
                    note = f"mean of {len(plain)} seeds, from {min(plain):.2f} to {max(plain):.2f}"
                note += f"; {np.mean(white):.2f} with whitened components" if white else ""
                cell = f"table-14/{method.replace('_ibp', '-ibp-r')}/{name}"
                values[cell] = Value(round(float(np.mean(plain)), 2), note)
    return values
