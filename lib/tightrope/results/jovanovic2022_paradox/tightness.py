"""Tables 1 and 4, Figures 2 and 9: images that each relaxation certifies as the radius grows, and the area below."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import InputError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, PAPER, kept_or_solved, make_case, questions
from tightrope.results.jovanovic2022_paradox.cross_certification import SEARCH_LENGTH, SEARCH_STEPS, short
from tightrope.results.jovanovic2022_paradox.shapes import PROGRAMS, named
from tightrope.threads import one_torch_thread
from tightrope.training.tightness import TABLE_3 as TRAINED
from tightrope.verifiers.triangle import layerwise_bounds
from tightrope.workbench.cases import dataset, entry, groups, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.parameters import COUNT, many, rows_of
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_1, TABLE_4 = "table-1-paradox", "table-4-cr-auc"
FIGURE_2, FIGURE_9 = "figure-2-cr-curves-a", "figure-9-cr-curves-f"
CURVES = (*CERTIFIERS, "crown_0")
#: Relaxations whose region grows with the radius, so that what is certified at one radius is at every smaller one:
#: their set for l <= h <= u is inside that for wider l, u. The lower lines of DeepZ and CROWN move, and theirs is not.
MONOTONE = ("box", "hbox", "crown_0", *PROGRAMS)
#: What a monotone relaxation is never looser than: what these certify, it certifies.
IMPLIED = {"hbox": ("box",), "parallelogram": ("hbox",), "triangle": ("box", "deepz", "crown")}


def cr_auc(radii: Sequence[float], percent: Sequence[float]) -> float:
    """The area under the certified ratio (in percent) over the radius, by the trapezoidal rule, as the paper prints it.

    Examples
    --------
    >>> cr_auc([0.0, 0.1], [100.0, 0.0])
    5.0
    """
    return float(np.trapezoid(percent, radii))


def letter_of(network: str) -> str | None:
    """The experiment of Table 3 that a network of the zoo belongs to."""
    return next((letter for letter, found in TRAINED.items() if found.name == network), None)


def label(network: str) -> str:
    """`mnist/fc-small-natural` as `F: FC-SMALL, natural`; others as in Table 7."""
    letter = letter_of(network)
    if letter is None:
        return short(network)
    found = TRAINED[letter].printed
    training = found.method if found.method == "natural" else f"PGD {found.schedule.epsilon:g}"
    return f"{letter}: {found.architecture}, {training}"


@dataclass(frozen=True)
class Tightness:
    """Rows of CR curves."""

    rows: tuple[dict, ...]

    @property
    def curves(self) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
        """Network -> relaxation -> (radii, certified images in percent)."""
        found: dict = {}
        for network, method in dict.fromkeys((row["network"], row["method"]) for row in self.rows):
            part = [row for row in self.rows if (row["network"], row["method"]) == (network, method)]
            certified = sum(np.array(row["certified"]) for row in part)
            percent = 100 * certified / sum(row["count"] for row in part)
            found.setdefault(network, {})[named(method)] = (radii_of(part[0]).tolist(), percent.tolist())
        return found

    @property
    def areas(self) -> Table:
        """CR-AUC: a line for each relaxation, a column for each network."""
        curves = self.curves
        methods = list(dict.fromkeys(name for lines in curves.values() for name in lines))
        lines = [
            (name, *(round(cr_auc(*lines[name]), 3) if name in lines else None for lines in curves.values()))
            for name in methods
        ]
        return Table(("relaxation", *(label(network) for network in curves)), tuple(lines))

    @property
    def shared(self) -> "Tightness":
        """The same for the images of each network that every relaxation was asked about."""
        seen: dict = {}
        for row in self.rows:
            methods = seen.setdefault(row["network"], {}).setdefault((row["first"], row["count"]), set())
            methods.add(row["method"])
        every = {network: set().union(*groups.values()) for network, groups in seen.items()}
        return Tightness(tuple(
            row for row in self.rows
            if seen[row["network"]][row["first"], row["count"]] == every[row["network"]]
        ))  # fmt: skip

    @property
    def order(self) -> list[str]:
        """The relaxations of all networks from loose to tight, by the sum of their areas."""
        everywhere = [line for line in self.areas.rows if None not in line]
        return [line[0] for line in sorted(everywhere, key=lambda line: sum(line[1:]))]

    def draw(self, name: str, shared: bool = False) -> figures.Drawing:
        """Draw the curves (those of :attr:`shared` if asked) and write them under figures/."""
        shown = self.shared if shared else self
        panels = {label(network): lines for network, lines in shown.curves.items()}
        drawing = figures.curves(panels, ("radius, pixel units", "certified %"), "certified images over the radius",
                                 shared=True)  # fmt: skip
        drawing.save(PAPER, f"{name}.{drawn_profile(self.rows)}", shown.areas)
        return drawing


def tightness(
    result: str,
    networks: Sequence[str],
    images: Sequence[int],
    largest: Sequence[float],
    count: int = 100,
    methods: Sequence[str] = CURVES,
    programs: Sequence[str] = (),
    program_images: int | None = None,
    group: int = 50,
    profile: str = "quick",
    store: Store | None = None,
) -> Tightness:
    """CR curves (Figures 2 and 9) and CR-AUC (Tables 1 and 4) of networks that were not trained for certificates.

    Parameters
    ----------
    result
        Table 1 or 4, Figure 2 or 9: under which name the rows are kept.
    networks
        Names of the zoo.
    images
        How many of the first test images for each network.
    largest
        The largest radius for each network; the radii are `count` numbers from 0 to it.
    methods
        Relaxations with two lines for each neuron.
    programs
        Those of the networks for which Triangle and Parallelogram are solved as well, by linear programs.
    program_images
        How many of the images for these; all if left out.
    group
        Images of one row: what a killed run loses at most.
    """
    parameters = dict(networks=networks, images=images, largest=largest, count=count, methods=methods,
                      programs=programs, program_images=program_images, group=group, profile=profile)  # fmt: skip
    return Tightness(solved(tightness_cases(result)(parameters), solve_tightness(result), store))


def tightness_cases(result: str) -> Callable[[Mapping], list[dict]]:
    """The cases of one of these results: one per network, relaxation and group of images."""

    @checked(images=many(COUNT))
    def cases(parameters: Mapping) -> list[dict]:
        unknown = set(parameters.get("programs", ())) - set(parameters["networks"])
        if unknown:
            raise InputError(f"programs: expected some of networks, got {', '.join(sorted(unknown))}.")
        options = {"elision": True, "radii": parameters["count"]}
        found = []
        for network, images, largest in rows_of(parameters, "networks", "images", "largest"):
            programs = PROGRAMS if network in parameters.get("programs", ()) else ()
            for method in (*parameters.get("methods", CURVES), *programs):
                count = _images(parameters, images, method)
                for part in groups(count, parameters.get("group", 50), dataset(entry(network).dataset)):
                    found.append(make_case(result, parameters["profile"], network, largest, method, options, **part))
        return found

    return cases


def _images(parameters: Mapping, images: int, method: str) -> int:
    """How many images a relaxation is asked about."""
    fewer = parameters.get("program_images") if method in PROGRAMS else None
    return images if fewer is None else min(images, fewer)


def solve_tightness(result: str) -> Callable[[Mapping], dict]:
    """How the rows of one of these results are solved: those of Table 4 are the others', where they are kept."""
    if result == TABLE_4:
        return count_along_radii
    return lambda case: kept_or_solved(case, TABLE_4, count_along_radii)


def radii_of(case: Mapping) -> np.ndarray:
    """The radii of a case in pixel units; its own is the largest."""
    return np.linspace(0, case["epsilon_pixel"], case["options"]["radii"]).round(9)


def count_along_radii(case: Mapping) -> dict:
    """Count the certified images of one group at each radius.

    Images with an adversarial point at some radius are not asked about at that radius and larger ones, where no sound
    relaxation certifies them. For relaxations of :data:`MONOTONE` the largest certified radius of an image is found by
    bisection and certifies it at all smaller ones.
    """
    start = time.process_time()
    radii, broken = radii_of(case), broken_from(*(case[name] for name in (
        "network", "dataset", "epsilon_pixel", "first", "count")), case["options"]["radii"])  # fmt: skip
    programs = 0
    if case["method"] in MONOTONE:
        below = np.full(len(broken), -1)
        for method in (*IMPLIED.get(case["method"], ()), case["method"]):
            below, solved_now = _bisect(case, method, below, broken)
            programs += solved_now
        counts = [int((below >= i).sum()) for i in range(len(radii))]
    else:
        counts = [int(_certified(case, case["method"], np.full(len(broken), i), broken > i)[0].sum())
                  for i in range(len(radii))]  # fmt: skip
    spent = {"programs": programs} if case["method"] in PROGRAMS else {}
    return {"certified": counts, **spent, "processor_seconds": round(time.process_time() - start, 2)}


def _bisect(case: Mapping, method: str, below: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, int]:
    """Raise the certified index `below` (N,) of each image towards the refuted index `above`; programs solved."""
    below, above, programs = below.copy(), above.copy(), 0
    while (open_ := above - below > 1).any():
        middle = (below + above) // 2
        # The first question of an image is its smallest radius: many images end there.
        middle = np.where(below < 0, 0, middle)
        proven, solved_now = _certified(case, method, middle, open_)
        programs += solved_now
        below, above = np.where(proven, middle, below), np.where(open_ & ~proven, middle, above)
    return below, programs


def _certified(case: Mapping, method: str, index: np.ndarray, consider: np.ndarray) -> tuple[np.ndarray, int]:
    """Which images (N,) the relaxation certifies at the radius of this index of each; programs solved."""
    found, _, lower, upper, labels = questions({**case, "epsilon_pixel": radii_of(case)[index][:, None]})
    with one_torch_thread():
        if method not in PROGRAMS:
            boxes = InputSet.boxes(lower, upper)
            return certify(found.network, boxes, labels, method, consider=consider).certified, 0
        proven, programs = np.zeros(len(labels), bool), 0
        for n in np.flatnonzero(consider):
            bounds = layerwise_bounds(found.network, lower[n], upper[n], int(labels[n]), method)
            proven[n] = (np.delete(bounds.margins, labels[n]) < 0).all()
            programs += bounds.programs
    return proven, programs


@lru_cache(maxsize=16)
def broken_from(
    network: str, data: str, largest: float, first: int, count: int, radii: int, tried: int = 10
) -> np.ndarray:
    """The index of a radius from which on each image (N,) is known not to be robust; `radii` where there is none.

    0 for an image that is labelled wrongly. A short search for adversarial points is made at about `tried` radii.
    """
    case = {"network": network, "dataset": data, "first": first, "count": count}
    found, x, _, _, labels = questions({**case, "epsilon_pixel": 0.0})
    broken = np.where(found.network.predict(x) == labels, radii, 0)
    values = np.linspace(0, largest, radii)
    for i in range(1, radii, max(1, radii // tried)):
        rows = np.flatnonzero(broken > i)
        if len(rows):
            _, _, lower, upper, _ = questions({**case, "epsilon_pixel": values[i]})
            step = SEARCH_LENGTH * found.normalisation.steps_to_input(values[i], x.shape[1])
            with one_torch_thread():
                fooled = attacks.batched_pgd(found.network, x[rows], lower[rows], upper[rows], labels[rows], step=step,
                                             steps=SEARCH_STEPS, seed=0)  # fmt: skip
            broken[rows[fooled]] = i
    return broken


def area_cells(number: int) -> Callable[[Sequence[Mapping], Mapping], dict[str, Value]]:
    """Table 4: `table-4/crown-ibp/A` and so on; Table 1: `table-1/crown-ibp-r/tightness`."""

    def cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
        values = {}
        sizes = dict(zip(parameters["networks"], parameters["images"], strict=True))
        for network, method in dict.fromkeys((row["network"], row["method"]) for row in rows):
            part = tuple(row for row in rows if (row["network"], row["method"]) == (network, method))
            letter = letter_of(network)
            asked = network in sizes and _images(parameters, sizes[network], method)
            if letter is None or sum(row["count"] for row in part) != asked:
                continue
            word = method.replace("_", "-")
            cell = f"table-4/{word}/{letter}" if number == 4 else f"table-1/{word.replace('-ibp', '-ibp-r')}/tightness"
            area = cr_auc(*Tightness(part).curves[network][named(method)])
            trained = TRAINED[letter]
            note = (f"another network of the same kind, trained here for {trained.ours.schedule.epochs} of the printed "
                    f"{trained.printed.schedule.epochs} epochs; first {asked} images")  # fmt: skip
            values[cell] = Value(round(area, 3), note)
        return values

    return cells


def paradox(found: Tightness, scores: Mapping[str, float]) -> Table:
    """Table 1: tightness on one network, and the certified images (percent) after training with each relaxation.

    Parameters
    ----------
    found
        CR curves of one network.
    scores
        Training score by the paper's word for the relaxation.
    """
    areas = {line[0]: line[1] for line in found.areas.rows}
    lines = sorted((areas[name], name, score) for name, score in scores.items() if name in areas)
    return Table(("relaxation", "tightness (CR-AUC)", "training score"), tuple((n, a, s) for a, n, s in lines))


def draw_paradox(table: Table, profile: str) -> figures.Drawing:
    """Draw Table 1: tightness against training score."""
    points = [(name, area, score) for name, area, score in table.rows]
    drawing = figures.pairs(points, ("tightness (CR-AUC)", "certified % after training"), "the paradox")
    drawing.save(PAPER, f"{TABLE_1}.{profile}", table)
    return drawing
