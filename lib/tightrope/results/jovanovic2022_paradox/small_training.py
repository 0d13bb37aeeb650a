"""Table 14: a small network trained with seven relaxations, two of them linear programs."""

import time
from functools import cache
from itertools import product

import numpy as np

from tightrope import figures
from tightrope.datasets import Dataset, Normalisation
from tightrope.errors import InputError, UnknownNameError
from tightrope.training import Configuration, Schedule, accuracy, train
from tightrope.training.programs import PROGRAMS
from tightrope.workbench import cases as workbench_cases
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Names, Numbers, Rows, Value, Values
from .common import CERTIFIERS, PAPER, TITLES, best_mean, certified_boxes, checkpoint

table_14 = Experiment(PAPER, "table-14-triangle-parallelogram")
METHODS = (*CERTIFIERS, *PROGRAMS)
#: Units of the principal components: those of the pixels, each component divided by its deviation, or those of pixels
#: that are normalised for the data set (for MNIST, 1 / 0.3081 times longer).
SCALINGS = ("plain", "whitened", "normalised")


@table_14.cases
def cases(
    dataset: str,
    images: int,
    components: int,
    neurons: int,
    epsilon: float,
    epochs: int,
    warm_up: int,
    ramp_up: int,
    batch_size: int,
    learning_rate: float,
    scalings: Names,
    seeds: Numbers,
    program_seeds: Numbers,
) -> Cases:
    """Yield one case for each scaling, relaxation and seed: two hidden layers of so many neurons.

    The radius `epsilon` is in component units, not cut to a range. The paper prints neither the learning rate nor how
    the components are scaled, and so not what a radius means. Triangle and Parallelogram, which cost fifty times as
    much, have their own seeds.
    """
    for scaling in scalings:
        if scaling not in SCALINGS:
            raise UnknownNameError("scaling", scaling, SCALINGS)
    same = dict(dataset=dataset, images=images, components=components, neurons=neurons, epsilon=epsilon)
    same |= dict(epochs=epochs, warm_up=warm_up, ramp_up=ramp_up, batch_size=batch_size, learning_rate=learning_rate)
    for scaling, method in product(scalings, METHODS):
        for seed in program_seeds if method in PROGRAMS else seeds:
            yield {**same, "scaling": scaling, "method": method, "seed": seed}


@cache
def principal_components(name: str, images: int, components: int, seed: int, scaling: str = "plain") -> Dataset:
    """Return random training images by their first principal components, in the units that `scaling` names.

    The components are real numbers; they are kept scaled to [0, 1] as a data set's pixels, with the normalisation that
    brings them back. So a radius is in component units after that normalisation.
    """
    data = workbench_cases.dataset(name, "train")
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
    elif scaling == "normalised":
        features = centered / data.normalisation.std @ axes.T
    low, high = features.min(), features.max()
    normalisation = Normalisation(mean=-low / (high - low), std=1 / (high - low))
    scaled = np.clip((features - low) / (high - low), 0, 1)
    return Dataset(f"{name}-pca-{components}", scaled, data.labels[rows], (1, components), normalisation)


@table_14.solve
def train_and_certify(case: Case) -> dict:
    """Train one network and certify it with the same relaxation on the same images."""
    start = time.process_time()
    data = principal_components(case["dataset"], case["images"], case["components"], 0, case["scaling"])
    course = {name: case[name] for name in ("epochs", "warm_up", "ramp_up", "learning_rate")}
    scale = data.normalisation.std  # component units -> the unit of the scaled components
    schedule = Schedule(epsilon=case["epsilon"] * scale, learning_rates="constant", **course)
    architecture, method = f"FC {case['neurons']}, FC {case['neurons']}, FC 10", case["method"]
    configuration = Configuration(architecture, method, schedule, case["batch_size"], clip=False, seed=case["seed"])
    with checkpoint(case) as file:
        trained = train(configuration, data, checkpoint=file, device="cpu")
    x = data.normalisation.to_input(data.images)
    correct = trained.network.predict(x) == data.labels
    ends = x - case["epsilon"], x + case["epsilon"]
    certified, _ = certified_boxes(trained.network, *ends, data.labels, method, consider=correct)
    return {
        "correct": round(accuracy(trained.network, data) * len(data)),
        "certified": int(certified.sum()),
        "losses": [round(loss, 6) for loss in trained.losses],
        "network_sha256": trained.network.sha256(),
        "seconds": round(time.process_time() - start, 2),
    }


def percents(rows: Rows, name: str) -> list[float]:
    """Return a count in percent of the images, for each row."""
    return [100 * row[name] / row["images"] for row in rows]


@table_14.lines("components | relaxation | seeds | accuracy % | certified %: best seed | mean % | spread % | last loss")
def scores(rows: Rows) -> Lines:
    """Return accuracy, certified images and last loss of each relaxation; mean and spread over the seeds."""
    for (scaling, method), own in rows.by("scaling", "method"):
        shares = percents(own, "certified")
        spread = round(float(np.std(shares, ddof=1)), 2) if len(shares) > 1 else None
        right, loss = np.mean(percents(own, "correct")), np.mean([row["losses"][-1] for row in own])
        best, mean = round(max(shares), 2), round(float(np.mean(shares)), 2)
        found = round(float(right), 2), best, mean, spread, round(float(loss), 3)
        yield scaling, TITLES[method], len(own), *found


@table_14.lines("components | relaxation | loss after the ramp-up | last loss")
def final_losses(rows: Rows) -> Lines:
    """Return the first seed's training loss: after the ramp-up, and at the end, from the lowest to the highest."""
    lines = []
    for (scaling, method), (row, *_) in rows.by("scaling", "method"):
        ends = (round(row["losses"][at], 4) for at in (row["warm_up"] + row["ramp_up"], -1))
        lines.append((scaling, TITLES[method], *ends))
    return sorted(lines, key=lambda line: (line[0], line[-1]))


@table_14.drawing(scores)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the certified images of each seed by relaxation, a panel for each scaling."""
    panels = {
        f"{scaling} components": {TITLES[method]: percents(own, "certified") for method, own in part.items()}
        for scaling, part in rows.nested("scaling", "method").items()
    }
    words = {method: method.replace("_ibp", "-ibp-r") for method in TITLES}  # of the printed cells' names
    known = {TITLES[method]: table_14.printed.get(f"table-14/{word}/certified") for method, word in words.items()}
    printed = {"plain components": known} if rows[0]["profile"] == "paper" else {}
    drawing = figures.spreads(panels, "certified training images, %", "certified images of each seed", printed)
    return drawing.saying(best_mean(panels))


def draw_losses(rows: Rows) -> figures.Drawing:
    """Draw the loss after the ramp-up, of the first seed, a panel for each scaling."""
    panels: dict[str, dict] = {}
    for (scaling, method), (row, *_) in rows.by("scaling", "method"):
        after = row["warm_up"] + row["ramp_up"]
        curve = list(range(after, row["epochs"])), row["losses"][after:]
        panels.setdefault(f"{scaling} components", {})[TITLES[method]] = curve
    last = {name: min((own[1][-1], method) for method, own in part.items()) for name, part in panels.items()}
    lowest = ", ".join(f"{loss:.3f} by {method} ({name})" for name, (loss, method) in last.items())
    drawing = figures.curves(panels, ("epoch", "training loss after the ramp-up"), "training loss", names="ends")
    return drawing.saying(f"The lowest loss at the end: {lowest}")


@table_14.cells
def cells(rows: Rows) -> Values:
    """Yield `table-14/box/certified` and `table-14/box/accuracy`: the mean over the seeds with plain components.

    The note has the range, and the means with components that are scaled otherwise.
    """
    for (method,), own in rows.by("method"):
        for cell, name in (("accuracy", "correct"), ("certified", "certified")):
            plain, *others = (percents(own.where(scaling=scaling), name) for scaling in SCALINGS)
            if plain:
                note = "one seed"
                if len(plain) > 1:
                    note = f"mean of {len(plain)} seeds, from {min(plain):.2f} to {max(plain):.2f}"
                named = zip(SCALINGS[1:], others, strict=True)
                note += "".join(f"; {np.mean(found):.2f} {scaling}" for scaling, found in named if found)
                word, mean = method.replace("_ibp", "-ibp-r"), round(float(np.mean(plain)), 2)
                yield f"table-14/{word}/{cell}", Value(mean, note)
