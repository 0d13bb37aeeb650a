"""What Tables 3 and 4 share: the radii, and how percent certified is shown."""

from collections.abc import Mapping, Sequence

from tightrope import figures
from tightrope.results.chen2020_lipschitz.common import PAPER
from tightrope.workbench.published import find
from tightrope.workbench.tables import Table

EPSILONS = tuple(round(0.01 * k, 2) for k in range(1, 11))
PRINTED = {"hr-2": "HR-2, printed", "lipopt-3": "LipOpt-3, printed"}  # lines that are printed at all radii


def ratio_table(ratios: Mapping[str, Sequence[float]], count: int) -> Table:
    """Return percent certified at each of :data:`EPSILONS`, one line per name.

    One of the `count` points may lie at the threshold of a constant that is proven to 1e-4.
    """
    lines = [(name, *(f"{percent:.2f}" for percent in own)) for name, own in ratios.items()]
    return Table(
        ("% certified at epsilon", *(f"{epsilon:g}" for epsilon in EPSILONS)), lines, tolerance=round(100 / count, 2)
    )


def draw_ratios(ratios: Mapping[str, Sequence[float]], result: str, title: str) -> figures.Drawing:
    """Draw percent certified against the radius, one curve per name, and the printed points of a result."""
    series = {name: list(zip(EPSILONS, own, strict=True)) for name, own in ratios.items()}
    return figures.ratio_curves(series, printed_ratios(result), title, result.startswith("table-4"))


def printed_ratios(result: str) -> dict[str, list[tuple[float, float]]]:
    """Return the points (epsilon, percent) of the printed lines of a result."""
    series: dict[str, list[tuple[float, float]]] = {}
    for cell in find(f"{PAPER}/{result}").cells:
        _, method, epsilon = cell.id.split("/")
        if method in PRINTED:
            series.setdefault(PRINTED[method], []).append((float(epsilon), cell.printed))
    return series
