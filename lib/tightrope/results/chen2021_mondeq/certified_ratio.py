"""Table 2: certified images by the Robustness Model, and the images that attacks leave."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tightrope import attacks, figures
from tightrope.certificates import Verdict
from tightrope.errors import CertificateError, UnknownNameError
from tightrope.results.chen2021_mondeq.common import PAPER, SETS, make_case, norm_text, percent, question
from tightrope.results.chen2021_mondeq.ellipsoid_ratio import ellipsoid_cells, kept_ellipsoids
from tightrope.results.chen2021_mondeq.lipschitz_bounds import kept_constants
from tightrope.results.chen2021_mondeq.lipschitz_ratio import (
    count_cells,
    count_table,
    kept_counts,
    solved_counts,
)
from tightrope.verifiers import robustness
from tightrope.workbench.cases import dataset, entry, image_count, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.statistics import binomial_interval
from tightrope.workbench.tables import Table, interval

TABLE_2 = "table-2-certified-ratio"


@dataclass(frozen=True)
class Setting:
    """Counts of one norm, radius and set over the images of Table 2.

    Attributes
    ----------
    certified, attacked, foolbox : int
        Images proven robust; with a point of another label, found by any attack; found by Foolbox's alone.
    seconds, seconds_per_problem : float
        Means, of an image and of one label that needed a relaxation.
    """

    norm: object
    epsilon_pixel: float
    clip: bool
    images: int
    certified: int
    attacked: int
    foolbox: int
    failed: int
    seconds: float
    seconds_per_problem: float | None

    @property
    def name(self) -> str:
        """The setting in a cell's id, such as ``linf-0.05``."""
        return f"l{self.norm}-{self.epsilon_pixel:g}"

    @property
    def not_attacked(self) -> int:
        """Images for which no attack succeeded."""
        return self.images - self.attacked


@dataclass(frozen=True)
class Table2:
    """Rows of Table 2 and what is shown of them."""

    rows: tuple[dict, ...]

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Counts by norm, radius and set."""
        return settings(self.rows)

    @property
    def ratios(self) -> Table:
        """Certified and not attacked images beside the printed ratios."""
        return ratio_table(self.settings)

    @property
    def seconds(self) -> Table:
        """Seconds per image and per problem beside the printed ones."""
        return seconds_table(self.settings)

    @cached_property
    def lipschitz(self) -> Table:
        """Images certified by global Lipschitz constants (those of Table 3, solved now if they are not kept)."""
        row = self.rows[0]
        radii = list(dict.fromkeys((s.norm, s.epsilon_pixel) for s in self.settings))
        images = len({row["image"] for row in self.rows})
        return count_table(solved_counts(row["network"], images, radii, row["profile"]))

    @property
    def images(self) -> Table:
        """What was decided, image by image."""
        return image_table(self.rows)

    def draw(self) -> figures.Drawing:
        """Draw the ratios, with marks at the printed ones if they are of this network; write it under figures/."""
        same = all(row["network"].startswith(f"{PAPER}/") for row in self.rows)
        bars = [
            (
                f"{norm_text(s.norm)}  {s.epsilon_pixel:g}  {SETS[s.clip]}",
                s.certified,
                s.attacked,
                s.images,
                *(_printed(s) if same else (None, None)),
            )
            for s in self.settings
        ]
        # Both sets of a radius stand together.
        drawing = figures.stacked_ratios(bars, "certified, undecided and attacked images", together=2)
        drawing.save(PAPER, f"{TABLE_2}.{drawn_profile(self.rows)}", self.ratios)
        return drawing


def table_2(
    network: str,
    images: int,
    epsilons_l2: Sequence[float] = (0.1,),
    epsilons_linf: Sequence[float] = (0.1, 0.05, 0.01),
    method: str = "cascade",
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table2:
    """Table 2: the ratio of certified images by the Robustness Model, and the ratio that attacks leave.

    Parameters
    ----------
    network
        A name of the zoo; the paper's is ``chen2021-mondeq/mnist-87``.
    images
        How many test images, from the first on.
    epsilons_l2, epsilons_linf
        Radii in pixel units.
    method
        One of `tightrope.verifiers.robustness.METHODS`.
    seed
        Of the attacks.
    profile
        Under which name the rows are kept; "custom" if the other parameters are not those of that profile.
    store, solve
        Where rows are kept, and how a case is solved (:func:`decide`); replaced in tests.

    Raises
    ------
    CertificateError
        A set was certified for an image that has an attack inside it.
    """
    cases = table_2_cases(
        dict(
            network=network,
            images=images,
            epsilons_l2=epsilons_l2,
            epsilons_linf=epsilons_linf,
            method=method,
            seed=seed,
            profile=profile,
        )
    )
    rows = solved(cases, solve or decide, store)
    check_consistent(rows)
    return Table2(rows)


@checked()
def table_2_cases(parameters: Mapping) -> list[dict]:
    """One case per image, norm, radius and set; image by image, so that a stopped run has whole images."""
    count = image_count(parameters["images"], dataset(entry(parameters["network"]).dataset))
    if parameters["method"] not in robustness.METHODS:
        raise UnknownNameError("method", parameters["method"], robustness.METHODS)
    return [
        make_case(TABLE_2, parameters, norm, epsilon, clip, image, parameters["method"])
        for image in range(count)
        for norm, epsilon in radii_of(parameters)
        for clip in (False, True)
    ]


def radii_of(parameters: Mapping) -> list[tuple[object, float]]:
    """The norms and radii of Table 2."""
    return [(2, r) for r in parameters["epsilons_l2"]] + [("inf", r) for r in parameters["epsilons_linf"]]


def decide(case: Mapping) -> dict:
    """Decide one case of Table 2: attack it with Foolbox and with ours, and certify every other label."""
    network, region, label = question(case)
    seed = case["options"]["seed"]
    start = time.perf_counter()
    by_foolbox = attacks.foolbox_pgd(network, region, label, seed=seed)
    between = time.perf_counter()
    report = robustness.verify(network, region, label, method=case["method"], seed=seed)
    end = time.perf_counter()
    misclassified = report.predicted != label
    attacked = misclassified or by_foolbox is not None or report.attack is not None
    return {
        "label": label,
        "predicted": int(report.predicted),
        "robustness": str(Verdict(report.verdict).value),
        "pgd": (Verdict.FALSIFIED if attacked else Verdict.UNKNOWN).value,
        "foolbox": (Verdict.FALSIFIED if misclassified or by_foolbox is not None else Verdict.UNKNOWN).value,
        "labels": [label_row(decision) for decision in report.decisions],
        "seconds": round(end - between, 6),
        "seconds_foolbox": round(between - start, 6),
    }


def label_row(decision: "robustness.LabelDecision") -> dict:
    """What a row keeps of one label's decision."""
    return {
        "label": int(decision.label),
        "verdict": Verdict(decision.verdict).value,
        "bound": decision.bound,
        "attack_margin": decision.attack_margin,
        "method": decision.method,
        "solver": decision.solver,
        "seconds": round(decision.seconds, 6),
        **({"reason": decision.reason} if decision.reason else {}),
    }


def settings(rows: Iterable[Mapping]) -> tuple[Setting, ...]:
    """Count the verdicts by norm, radius (largest first, as printed) and set."""
    groups: dict[tuple, list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["norm"], row["epsilon_pixel"], row["clip"]), []).append(row)
    ordered = sorted(groups.items(), key=lambda item: (str(item[0][0]), -item[0][1], item[0][2]))
    return tuple(_count(*key, group) for key, group in ordered)


def _count(norm: object, epsilon_pixel: float, clip: bool, rows: Sequence[Mapping]) -> Setting:
    problems = [label["seconds"] for row in rows for label in row["labels"] if label["bound"] is not None]
    return Setting(
        norm=norm,
        epsilon_pixel=epsilon_pixel,
        clip=clip,
        images=len(rows),
        certified=sum(row["robustness"] == "certified" for row in rows),
        attacked=sum(row["pgd"] == "falsified" for row in rows),
        foolbox=sum(row["foolbox"] == "falsified" for row in rows),
        failed=sum(row["robustness"] == "failed" for row in rows),
        seconds=float(np.mean([row["seconds"] for row in rows])),
        seconds_per_problem=float(np.mean(problems)) if problems else None,
    )


def contradictions(rows: Iterable[Mapping]) -> list[tuple[Mapping, Mapping]]:
    """Return pairs (certified, attacked) of one image whose attacked set lies inside the certified one."""
    rows = list(rows)
    attacked: dict[int, list[Mapping]] = {}
    for row in rows:
        if row["pgd"] == "falsified":
            attacked.setdefault(row["image"], []).append(row)
    return [
        (row, other)
        for row in rows
        if row["robustness"] == "certified"
        for other in attacked.get(row["image"], ())
        if _inside(other, row)
    ]


def _inside(inner: Mapping, outer: Mapping) -> bool:
    """Whether one set of an image is inside another; an L2 ball is in the L-infinity ball of its radius."""
    norms = inner["norm"] == outer["norm"] or (inner["norm"], outer["norm"]) == (2, "inf")
    return norms and inner["epsilon_pixel"] <= outer["epsilon_pixel"] and inner["clip"] >= outer["clip"]


def check_consistent(rows: Iterable[Mapping]) -> None:
    """Raise CertificateError if an image is certified on a set in which it was attacked."""
    wrong = contradictions(rows)
    if wrong:
        images = ", ".join(sorted({str(row["image"]) for row, _ in wrong}))
        raise CertificateError(f"certified and attacked on the same set: images {images}")


def ratio_table(counts: Iterable[Setting]) -> Table:
    """Ratios in percent with exact 95 % intervals, beside the printed ratios."""
    columns = ("norm", "epsilon", "set", "images", "certified %", "95 %", "printed",
               "not attacked %", "95 % ", "printed ", "Foolbox alone %", "undecided", "failed")  # fmt: skip
    rows = []
    for s in counts:
        certified, attacks_left = _printed(s)
        rows.append((
            norm_text(s.norm), s.epsilon_pixel, SETS[s.clip], s.images,
            percent(s.certified, s.images), _interval(s.certified, s.images), certified,
            percent(s.not_attacked, s.images), _interval(s.not_attacked, s.images), attacks_left,
            percent(s.images - s.foolbox, s.images),
            s.not_attacked - s.certified, s.failed,
        ))  # fmt: skip
    return Table(columns, tuple(rows))


def seconds_table(counts: Iterable[Setting]) -> Table:
    """Seconds per image (all other labels, attack included) and per problem, beside the printed ones."""
    result = find(f"{PAPER}/{TABLE_2}")
    example = result.cell("table-2/seconds/robustness-per-example").printed
    problem = result.cell("table-2/seconds/robustness-per-problem").printed
    rows = [
        (norm_text(s.norm), s.epsilon_pixel, SETS[s.clip], s.seconds, example, s.seconds_per_problem, problem)
        for s in counts
    ]
    return Table(("norm", "epsilon", "set", "s / image", "printed", "s / problem", "printed "), tuple(rows))


def image_table(rows: Iterable[Mapping]) -> Table:
    """One line per image, one column per setting: what was decided."""
    rows = list(rows)
    keys = sorted({(str(r["norm"]), -r["epsilon_pixel"], r["clip"]) for r in rows})
    names = [f"l{norm} {-e:g}{' in [0, 1]' if clip else ''}" for norm, e, clip in keys]
    by_case = {(r["image"], str(r["norm"]), -r["epsilon_pixel"], r["clip"]): r for r in rows}
    lines = []
    for image in sorted({r["image"] for r in rows}):
        found = [by_case.get((image, *key)) for key in keys]
        known = next(r for r in found if r)
        lines.append((image, known["label"], known["predicted"], *(r and _verdict(r) for r in found)))
    return Table(("image", "label", "predicted", *names), tuple(lines))


def _verdict(row: Mapping) -> str:
    """The verdict, or "attacked" where only an attack decided."""
    return "attacked" if row["pgd"] == "falsified" else row["robustness"]


def table_2_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells, of the settings for which every image is solved."""
    complete_settings = [s for s in settings(rows) if s.images == parameters["images"]]
    whole = {(s.norm, s.epsilon_pixel, s.clip) for s in complete_settings}
    values: dict[str, Value] = {}
    if "network" in parameters:
        known = kept_constants(parameters["network"], parameters["profile"])
        found = [
            c for c in kept_counts(parameters["network"], parameters["profile"]) if c.images == parameters["images"]
        ]
        values |= count_cells(found, known)
        kept = kept_ellipsoids(parameters["network"], parameters["profile"])
        values |= ellipsoid_cells(kept, parameters["images"])
    for s in complete_settings:
        if not s.clip:
            other = _same(complete_settings, s)
            note = f"{percent(other.certified, other.images)} on the ball clipped to [0, 1]" if other else ""
            values[f"table-2/{s.name}/robustness"] = Value(percent(s.certified, s.images), note)
        else:
            other = _same(complete_settings, s)
            note = f"Foolbox alone: {percent(s.images - s.foolbox, s.images)}"
            if other:
                note += f"; {percent(other.not_attacked, other.images)} on the unclipped ball"
            values[f"table-2/{s.name}/pgd"] = Value(percent(s.not_attacked, s.images), note)
    complete = [row for row in rows if (row["norm"], row["epsilon_pixel"], row["clip"]) in whole]
    if complete and len(whole) == 2 * (len(parameters["epsilons_l2"]) + len(parameters["epsilons_linf"])):
        unclipped = [s for s in complete_settings if not s.clip]
        values["table-2/certified-and-attacked"] = Value(len({r["image"] for r, _ in contradictions(complete)}))
        values["table-2/seconds/robustness-per-example"] = Value(
            float(np.mean([s.seconds for s in unclipped])),
            "mean over the four unclipped settings, attack included",
        )
        problems = [s.seconds_per_problem for s in unclipped if s.seconds_per_problem is not None]
        if problems:
            values["table-2/seconds/robustness-per-problem"] = Value(float(np.mean(problems)))
    return values


def _same(counts: Sequence[Setting], setting: Setting) -> Setting | None:
    """The same norm and radius on the other set."""
    return next((s for s in counts if s.name == setting.name and s.clip != setting.clip), None)


def _printed(s: Setting) -> tuple[float | None, float | None]:
    """The printed ratios of the Robustness Model and of PGD for this setting, on the set that each is for."""
    cells = {cell.id: cell for cell in find(f"{PAPER}/{TABLE_2}").cells}
    found = [cells.get(f"table-2/{s.name}/{column}") for column in ("robustness", "pgd")]
    return tuple(cell.printed if cell and cell.clip == s.clip else None for cell in found)


def _interval(count: int, total: int) -> str:
    return interval([100 * p for p in binomial_interval(count, total)])
