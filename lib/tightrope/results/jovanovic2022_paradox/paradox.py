"""Table 1: the paradox itself, tightness on one network beside the certified images after training."""

from collections.abc import Iterator

from tightrope import figures
from tightrope.workbench.experiment import Lines, Names, Numbers, Rows, Value, Values
from tightrope.workbench.published import find
from .accuracy import cases as own_certificates
from .accuracy import table_2, training_of
from .common import PAPER, TRAININGS, share
from .tightness import areas, figure_2, values_of_areas

table_1 = figure_2.same("table-1-paradox")
GROUP = 500  # images in one row of Table 2


@table_2.part
def training_scores(trained: Names, certified_images: int, epsilon_pixel: float) -> Iterator[dict]:
    """Return the cases of Table 2 whose certified images are the training scores."""
    return own_certificates(trained, certified_images, epsilon_pixel, GROUP)


@table_1.lines("relaxation | tightness (CR-AUC) | training score %")
def paradox(rows: Rows, scores: Rows) -> Lines:
    """Return tightness on one network, and the certified images (percent) after training with each relaxation.

    The rows are those of the CR curves of one network, the scores those of Table 2.
    """
    area = {line[0]: line[1] for line in areas(rows).rows}
    by_network = scores.by("network")
    score = {TRAININGS[training_of(network)]: share(own, "certified") for (network,), own in by_network}
    lines = sorted((area[name], name, percent) for name, percent in score.items() if name in area)
    return ((name, area, percent) for area, name, percent in lines)


@table_1.drawing(paradox)
def draw(rows: Rows, scores: Rows) -> figures.Drawing:
    """Draw tightness against training score."""
    points, axes = paradox(rows, scores).rows, ("tightness (CR-AUC, percent x pixels)", "certified % after training")
    printed: dict[str, dict] = {}
    for cell, value in table_1.printed.items() if rows[0]["profile"] == "paper" else ():
        name, what = find(f"{PAPER}/{table_1.name}").place(cell)
        printed.setdefault(name, {})[what] = value
    hollow = [(name, found["tightness"], found["score"]) for name, found in printed.items()]
    drawing = figures.pairs(points, axes, "the paradox", hollow)
    if len(points) < 2 or not points[0][1]:
        return drawing
    (loose, *low), (tight, *high) = points[0], points[-1]
    said = f"{high[0] / low[0]:.1f} times the tightness, {high[1] - low[1]:+.1f} points of certified images"
    return drawing.saying(f"From {loose} to {tight}: {said}")


@table_1.cells
def cells(rows: Rows, networks: Names, image_counts: Numbers, trained: Names, certified_images: int) -> Values:
    """Yield `table-1/crown-ibp-r/tightness` and so on, and the scores, from the rows of Table 2."""
    for method, _, value in values_of_areas(rows, networks, image_counts):
        yield f"table-1/{method.replace('-ibp', '-ibp-r')}/tightness", value
    scores = table_2.kept(rows[0]["profile"]) if rows else rows
    for network in trained:
        own = scores.where(network=network)
        if own and own.total("count") == certified_images:
            note = f"of {certified_images} images, as in Table 2"
            yield f"table-1/{training_of(network)}/score", Value(share(own, "certified"), note)
