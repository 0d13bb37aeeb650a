"""The column Lipschitz Model of Table 2: images certified by global Lipschitz constants, without any solve per image.

A global constant holds on the ball and on its part in the pixel range alike, so there is one count for both sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope.results.chen2021_mondeq.common import PAPER, make_case, norm_text, percent
from tightrope.results.chen2021_mondeq.lipschitz_bounds import constants, pair_matrix
from tightrope.verifiers import lipschitz
from tightrope.workbench.cases import dataset, entry, solved
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value
from tightrope.workbench.tables import Table

TABLE_2 = "table-2-certified-ratio"
COUNTS = "table-2-lipschitz"  # under which the counts are kept, so that showing them needs no network
FIELDS = ("norm", "epsilon_pixel", "images", "printed_criterion", "pairwise", "product")


@dataclass(frozen=True)
class LipschitzCount:
    """Images that global constants certify for one norm and radius.

    Attributes
    ----------
    printed_criterion, pairwise, product : int
        By 2 radius L < tau with the proven constant; by radius L_yk < F_y - F_k for every k; by the first criterion
        with the closed form of Pabbaraju, Winston and Kolter.
    """

    norm: object
    epsilon_pixel: float
    images: int
    printed_criterion: int
    pairwise: int
    product: int

    @property
    def name(self) -> str:
        """The setting in a cell's id, such as ``linf-0.05``."""
        return f"l{self.norm}-{self.epsilon_pixel:g}"


def counts(
    network: str, images: int, radii: Sequence[tuple[object, float]], constants: Mapping[tuple[str, object], Mapping]
) -> tuple[LipschitzCount, ...]:
    """Count the certified images for each norm and radius whose constants are known.

    Parameters
    ----------
    radii
        (norm, epsilon_pixel) pairs.
    constants
        Rows of Table 3 by method and norm.
    """
    found = entry(network)
    data = dataset(found.dataset)
    x = data.normalisation.to_input(data.images[:images])
    labels = data.labels[:images]
    needed = ("product-bound", "lipschitz-model", "pairwise")
    result = []
    for norm, epsilon_pixel in radii:
        rows = [constants.get((method, norm)) for method in needed]
        if any(row is None for row in rows):
            continue
        product, model, pairs = rows
        radius = data.normalisation.radius_to_input(epsilon_pixel)
        matrix = pair_matrix(pairs, found.network.classes)
        result.append(
            LipschitzCount(
                norm,
                epsilon_pixel,
                images,
                int(lipschitz.certified(found.network, x, labels, radius, model["value"]).sum()),
                int(lipschitz.certified_pairwise(found.network, x, labels, radius, matrix).sum()),
                int(lipschitz.certified(found.network, x, labels, radius, product["value"]).sum()),
            )
        )
    return tuple(result)


def solved_counts(
    network: str, images: int, radii: Sequence[tuple[object, float]], profile: str
) -> tuple[LipschitzCount, ...]:
    """The counts, kept as rows; the constants of Table 3 are solved first if they are not kept."""
    cases = count_cases({"network": network, "images": images, "profile": profile}, radii)
    return _from_rows(solved(cases, count, None))


def count_cases(parameters: Mapping, radii: Sequence[tuple[object, float]]) -> list[dict]:
    """One case per norm and radius."""
    cases = []
    for norm, epsilon_pixel in radii:
        images, seedless = parameters["images"], {**parameters, "seed": 0}
        case = make_case(COUNTS, seedless, norm, epsilon_pixel, False, images, "global-constants")
        cases.append(case | {"images": case.pop("image")})
    return cases


def count(case: Mapping) -> dict:
    """Solve one case, from the constants that are kept (solved now if they are not)."""
    known = constants(case["network"], case["profile"])
    (found,) = counts(case["network"], case["images"], [(case["norm"], case["epsilon_pixel"])], known)
    return {name: getattr(found, name) for name in FIELDS[3:]}


def kept_counts(network: str, profile: str) -> tuple[LipschitzCount, ...]:
    """The counts that are kept, without solving."""
    with Store() as store:
        return _from_rows(row for row in store.rows(COUNTS, profile, PAPER) if row["network"] == network)


def _from_rows(rows: Iterable[Mapping]) -> tuple[LipschitzCount, ...]:
    return tuple(LipschitzCount(*(row[name] for name in FIELDS)) for row in rows)


def count_table(found: Sequence[LipschitzCount]) -> Table:
    """Percent certified beside the printed column."""
    cells = {cell.id: cell.printed for cell in find(f"{PAPER}/{TABLE_2}").cells}
    rows = [
        (norm_text(c.norm), c.epsilon_pixel, c.images,
         percent(c.printed_criterion, c.images), cells.get(f"table-2/{c.name}/lipschitz"),
         percent(c.pairwise, c.images),
         percent(c.product, c.images), cells.get(f"table-2/{c.name}/lipschitz-product-bound"))
        for c in found
    ]  # fmt: skip
    columns = ("norm", "epsilon", "images", "Lipschitz Model %", "printed", "pairwise %", "closed form %", "printed ")
    return Table(columns, tuple(rows))


def count_cells(found: Sequence[LipschitzCount], constants: Mapping[tuple[str, object], Mapping]) -> dict[str, Value]:
    """Our numbers for the printed cells of the column."""
    values: dict[str, Value] = {}
    for c in found:
        values[f"table-2/{c.name}/lipschitz"] = Value(
            percent(c.printed_criterion, c.images),
            f"proven constant, printed criterion; {percent(c.pairwise, c.images)} with pairwise constants",
        )
        values[f"table-2/{c.name}/lipschitz-product-bound"] = Value(percent(c.product, c.images))
    models = [constants.get(("lipschitz-model", norm)) for norm in (2, "inf")]
    if found and all(models):
        total = float(np.sum([row["seconds"] for row in models]))
        values["table-2/seconds/lipschitz-total"] = Value(total, "both norms; once for all images")
    return values
