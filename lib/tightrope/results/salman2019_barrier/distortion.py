"""Figure 3: the gap between the radius that an attack needs and those that LP-GREEDY, LP-LAST, LP-ALL certify."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tightrope import datasets, figures
from tightrope.errors import InputError
from tightrope.results.salman2019_barrier.common import PAPER, entry, is_drawn, make_case, title
from tightrope.verifiers.distortion import attacked_distortion, certified_distortion
from tightrope.workbench.cases import dataset, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.statistics import bootstrap_interval
from tightrope.workbench.tables import Table

FIGURE_3 = "figure-3-epsilon-gap"
METHODS = ("lp-greedy", "lp-last", "lp-all")
TEN = f"{PAPER}/experiment_2/ten_test_images.npy"


@dataclass(frozen=True)
class Figure3:
    """Rows, one for each network, image and method, and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def gaps(self) -> Table:
        """Median gap in percent with bootstrap intervals."""
        return gap_table(self.rows)

    @property
    def images(self) -> Table:
        """The radii of each image."""
        return image_table(self.rows)

    def draw(self) -> figures.Drawing:
        """Draw the medians with their intervals; write the picture under figures/."""
        bars = [(title(network), *rest) for network, *rest in gaps(self.rows)]
        drawing = figures.gap_bars(bars, title="gap between PGD's radius and the certified ones")
        drawing.save(PAPER, f"{FIGURE_3}.{drawn_profile(self.rows)}", self.gaps)
        return drawing


def figure_3(
    networks: Sequence[str],
    images: int = 10,
    methods: Sequence[str] = METHODS,
    steps: int = 40,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
) -> Figure3:
    """Figure 3: minimum distortions by bisection, and the gaps between them.

    Parameters
    ----------
    networks
        Names of the zoo, or of random networks: ``random/784-100-100-10/dense/0`` and so on, the last number a draw.
    images
        How many images: of MNIST the paper's ten, of other data sets the first test images.
    methods
        Some of lp-greedy, lp-last, lp-all.
    steps
        Of the dual ascent.
    seed
        Of the attack.
    profile, store
        Under which name and where the rows are kept.
    """
    parameters = dict(networks=networks, images=images, methods=methods, steps=steps, seed=seed, profile=profile)
    return Figure3(solved(figure_3_cases(parameters), search, store))


@checked()
def figure_3_cases(parameters: Mapping) -> list[dict]:
    """One case for each network and image: the attack and all methods, each starting where the looser one ended."""
    options = {name: parameters[name] for name in ("seed", "steps")}
    methods = list(parameters["methods"])
    for method in methods:
        if method not in METHODS:
            raise InputError(f"methods: expected some of {', '.join(METHODS)}, got {method!r}.")
    return [
        make_case(FIGURE_3, parameters["profile"], network, None, "+".join(methods), options, image=image)
        for network in parameters["networks"]
        for image in image_numbers(entry(network).dataset, parameters["images"])
    ]


@cache
def image_numbers(name: str, count: int) -> tuple[int, ...]:
    """Numbers of the test images: the paper's ten for MNIST, the first ones otherwise."""
    data = dataset(name)
    if name != "mnist":
        return tuple(range(min(count, len(data))))
    ten = np.load(datasets.fetch(TEN)).reshape(10, -1)
    found = [int(np.abs(data.images - image).max(1).argmin()) for image in ten.astype(float)]
    if max(np.abs(data.images[number] - image).max() for number, image in zip(found, ten, strict=True)) > 1e-6:
        raise InputError(f"{TEN}: an image is not one of MNIST's test images.")
    return tuple(found[:count])


def search(case: Mapping) -> dict:
    """The radii of one image, in pixel units."""
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
            bracket = certified_distortion(found.network, center, label, method, attack.upper, lower=lower, box=box,
                                           steps=options["steps"])  # fmt: skip
            lower = bracket.lower
            radii[method] = [bracket.lower * scale.std, bracket.upper * scale.std]
            seconds[method] = round(time.perf_counter() - began, 3)
    upper = attack.upper * scale.std if np.isfinite(attack.upper) else None
    return {"label": label, "pgd": upper, "radii": radii, "seconds": seconds}


# ------------------------------------------------------------------------------------ pure functions of rows


def gaps(rows: Sequence[Mapping]) -> list[tuple[str, str, float, float, float, int]]:
    """Network, method, median gap, both ends of its 95 % interval, and number of images.

    The gap of an image is 100 (epsilon of PGD / certified epsilon - 1): 50 % where PGD's is 1.5 times larger.
    """
    found = []
    for network in dict.fromkeys(row["network"] for row in rows):
        for method in METHODS:
            own = [row for row in rows if row["network"] == network and method in row["radii"]]
            values = [100 * (row["pgd"] / row["radii"][method][0] - 1) for row in own if row["radii"][method][0] > 0]
            if values:
                found.append((network, method, float(np.median(values)), *bootstrap_interval(values), len(values)))
    return found


def gap_table(rows: Sequence[Mapping]) -> Table:
    """Median gaps in percent."""
    lines = [
        (title(network), method.upper(), round(middle, 1), f"[{low:.1f}, {high:.1f}]", round(1 + middle / 100, 2), n)
        for network, method, middle, low, high, n in gaps(rows)
    ]
    return Table(("network", "method", "median gap %", "95 %", "PGD / certified", "images"), tuple(lines))


def image_table(rows: Sequence[Mapping]) -> Table:
    """The radii of each image in pixel units."""
    lines = [
        (title(row["network"]), row["image"], row["label"],
         *(round(row["radii"][m][0], 4) if m in row["radii"] else None for m in METHODS),
         None if row["pgd"] is None else round(row["pgd"], 4))
        for row in rows
    ]  # fmt: skip
    return Table(("network", "image", "label", *(m.upper() for m in METHODS), "PGD"), tuple(lines))


def figure_3_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Share of networks for which what the paper says of the gaps holds with LP-ALL."""
    ratios = {network: 1 + middle / 100 for network, method, middle, *_ in gaps(rows) if method == "lp-all"}
    lpd = {network: r for network, r in ratios.items() if network.endswith("-lpd") or "/lpd-" in network}
    other = {network: r for network, r in ratios.items() if "/nor-" in network or "/adv-" in network}
    values = {}
    if other:
        note = ", ".join(f"{title(network)} {ratio:.2f}" for network, ratio in other.items())
        values["figure-3/nor-adv"] = Value(100 * float(np.mean([1.5 <= r <= 5 for r in other.values()])), note)
    if lpd:
        note = ", ".join(f"{title(network)} {ratio:.2f}" for network, ratio in lpd.items())
        values["figure-3/lpd"] = Value(100 * float(np.mean([r < 1.5 for r in lpd.values()])), note)
    return values
