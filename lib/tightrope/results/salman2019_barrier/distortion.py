"""Figure 3: the gap between the radius that an attack needs and those that LP-GREEDY, LP-LAST, LP-ALL certify."""

import time
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from tightrope import datasets, figures
from tightrope.errors import InputError
from tightrope.results.salman2019_barrier.common import PAPER, title
from tightrope.verifiers.distortion import attacked_distortion, certified_distortion
from tightrope.workbench.cases import box_case, dataset, entry, is_drawn
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.registry import Value
from tightrope.workbench.rows import Rows
from tightrope.workbench.statistics import bootstrap_interval
from tightrope.workbench.tables import Table

figure_3 = Experiment(PAPER, "figure-3-epsilon-gap")
METHODS = ("lp-greedy", "lp-last", "lp-all")
TEN = f"{PAPER}/experiment_2/ten_test_images.npy"


@figure_3.cases
def cases(networks: Sequence[str], images: int, methods: Sequence[str], steps: int, seed: int) -> list[dict]:
    """Return one case for each network and image: the attack and all methods, each from where the looser one ended.

    `images` counts the paper's ten for MNIST and the first test images of other data sets; `steps` are the dual's.
    """
    for method in methods:
        if method not in METHODS:
            raise InputError(f"methods: expected some of {', '.join(METHODS)}, got {method!r}.")
    options = {"seed": seed, "steps": steps}
    return [
        box_case(network, None, "+".join(methods), options, image=image)
        for network in networks
        for image in image_numbers(entry(network).dataset, images)
    ]


@cache
def image_numbers(name: str, count: int) -> tuple[int, ...]:
    """Return numbers of test images: the paper's ten for MNIST, the first ones otherwise."""
    data = dataset(name)
    if name != "mnist":
        return tuple(range(min(count, len(data))))
    ten = np.load(datasets.fetch(TEN)).reshape(10, -1)
    found = [int(np.abs(data.images - image).max(1).argmin()) for image in ten.astype(float)]
    if max(np.abs(data.images[number] - image).max() for number, image in zip(found, ten, strict=True)) > 1e-6:
        raise InputError(f"{TEN}: an image is not one of MNIST's test images.")
    return tuple(found[:count])


@figure_3.solve
def minimum_distortions(case: Mapping) -> dict:
    """Return the radii of one image, in pixel units: of the attack, and the bisection's bracket of each method."""
    found, data = entry(case["network"]), dataset(case["dataset"])
    scale = found.normalisation
    center, label = scale.to_input(data.image(case["image"])), data.label(case["image"])
    if is_drawn(case["network"]):  # nobody trained it to give the image's label
        label = int(found.network.predict(center))
    box = tuple(float(end) for end in scale.to_input(np.array([0.0, 1.0])))
    options, seconds = case["options"], {}
    began = time.perf_counter()
    attack = attacked_distortion(found.network, center, label, box=box, largest=box[1] - box[0], seed=options["seed"])
    seconds["pgd"] = round(time.perf_counter() - began, 3)
    radii, lower = {}, 0.0
    for method in METHODS:
        if method in case["method"].split("+") and 0 < attack.upper < np.inf:
            began = time.perf_counter()
            limits = dict(lower=lower, box=box, steps=options["steps"])
            bracket = certified_distortion(found.network, center, label, method, attack.upper, **limits)
            lower = bracket.lower
            radii[method] = [bracket.lower * scale.std, bracket.upper * scale.std]
            seconds[method] = round(time.perf_counter() - began, 3)
    upper = attack.upper * scale.std if np.isfinite(attack.upper) else None
    return {"label": label, "pgd": upper, "radii": radii, "seconds": seconds}


def gaps_of(rows: Rows) -> list[tuple[str, str, float, float, float, int]]:
    """Return network, method, median gap, both ends of its 95 % interval, and number of images.

    The gap of an image is 100 (epsilon of PGD / certified epsilon - 1): 50 % where PGD's is 1.5 times larger.
    """
    gaps = []
    for (network,), own in rows.by("network"):
        for method in METHODS:
            pairs = [(row["pgd"], row["radii"][method][0]) for row in own if method in row["radii"]]
            values = [100 * (attacked / certified - 1) for attacked, certified in pairs if certified > 0]
            if values:
                gaps.append((network, method, float(np.median(values)), *bootstrap_interval(values), len(values)))
    return gaps


@figure_3.table
def gaps(rows: Rows) -> Table:
    """Return the median gaps in percent with bootstrap intervals."""
    lines = [
        (title(network), method.upper(), round(middle, 1), f"[{low:.1f}, {high:.1f}]", round(1 + middle / 100, 2), n)
        for network, method, middle, low, high, n in gaps_of(rows)
    ]
    return Table(("network", "method", "median gap %", "95 %", "PGD / certified", "images"), lines)


@figure_3.table
def images(rows: Rows) -> Table:
    """Return the radii of each image in pixel units."""
    lines = []
    for row in rows:
        certified = (round(row["radii"][m][0], 4) if m in row["radii"] else None for m in METHODS)
        attacked = None if row["pgd"] is None else round(row["pgd"], 4)
        lines.append((title(row["network"]), row["image"], row["label"], *certified, attacked))
    return Table(("network", "image", "label", *(m.upper() for m in METHODS), "PGD"), lines)


@figure_3.drawing(gaps)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the medians with their intervals."""
    bars = [(title(network), *rest) for network, *rest in gaps_of(rows)]
    return figures.gap_bars(bars, title="gap between PGD's radius and the certified ones")


@figure_3.cells
def cells(rows: Rows) -> dict[str, Value]:
    """Return the share of networks for which what the paper says of the gaps holds with LP-ALL."""
    ratios = {network: 1 + middle / 100 for network, method, middle, *_ in gaps_of(rows) if method == "lp-all"}
    lpd = {network: r for network, r in ratios.items() if network.endswith("-lpd") or "/lpd-" in network}
    other = {network: r for network, r in ratios.items() if "/nor-" in network or "/adv-" in network}
    values = {}
    for cell, own, low, high in (("nor-adv", other, 1.5, 5.0), ("lpd", lpd, 0.0, np.nextafter(1.5, 0))):
        if own:
            note = ", ".join(f"{title(network)} {ratio:.2f}" for network, ratio in own.items())
            share = 100 * float(np.mean([low <= ratio <= high for ratio in own.values()]))
            values[f"figure-3/{cell}"] = Value(share, note)
    return values
