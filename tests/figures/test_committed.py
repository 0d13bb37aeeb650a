"""Every committed drawing is what its code makes of the kept rows: the numbers beside it, and the picture."""

import inspect
import io

import numpy as np
import pytest
from matplotlib.image import imread

from tightrope import paths
from tightrope.workbench import published, registry
from tightrope.workbench.rows import Rows

RESULTS = {result.key: result for result in published.results()}
FIGURES = [path for paper in published.papers() for path in (paths.FIGURES / paper.key).glob("*.paper.png")]
DRAWINGS = {
    f"{paper.key}/{name}{part.removeprefix('draw').replace('_', '-')}": (experiment, part)
    for paper in published.papers()
    for name, experiment in registry.experiments(paper.key).items()
    for part in experiment.drawings
}


def rows_of(experiment) -> tuple[Rows, bool]:
    """The kept rows in the order of the cases, and whether that order is known: cases may need the papers' files."""
    kept = [row for kind in (experiment, *experiment.needs) for row in kind.kept("paper")]
    order = registry.profile_cases(experiment.paper, experiment.name, "paper")
    known = {row["key"]: row for row in kept}
    found = Rows([known.pop(key) for key in order if key in known] + list(known.values()))
    result = RESULTS.get(f"{experiment.paper}/{experiment.name}")
    return found, bool(order) or result is None


def beside(experiment) -> list[Rows]:
    """What a drawing takes beside its own rows."""
    known = registry.experiments(experiment.paper)
    if experiment.name == "table-2-exact":
        return [known["table-2-certified-ratio"].kept("paper")]
    if experiment.name == "table-1-paradox":
        trained = RESULTS[f"{experiment.paper}/{experiment.name}"].paper_parameters["trained"]
        every = known["table-2-certified-training"].kept("paper")
        return [Rows(row for name in trained for row in every if row["network"] == name)]
    (drawn,) = (kind for name, kind in known.items() if name.startswith(experiment.name) and kind is not experiment)
    return [drawn.kept("paper")]


COMMITTED = sorted(str(path.relative_to(paths.FIGURES)).removesuffix(".paper.png") for path in FIGURES)


def test_every_committed_drawing_is_redrawn():
    """Each is one of some experiment, with its numbers and its PDF; none is there twice."""
    assert set(COMMITTED) <= set(DRAWINGS)
    for path in FIGURES:
        assert path.with_suffix(".csv").is_file() and path.with_suffix(".pdf").is_file()
    for ending in ("png", "pdf"):
        assert len({path.with_suffix(f".{ending}").read_bytes() for path in FIGURES}) == len(FIGURES)


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_drawing_is_not_out_of_date(name):
    experiment, part = DRAWINGS[name]
    committed = paths.FIGURES / f"{name}.paper.png"
    draw, numbers = experiment.drawings[part]
    rows, ordered = rows_of(experiment)
    more = beside(experiment) if len(inspect.signature(draw).parameters) > 1 else []
    table = numbers(rows, *more).to_csv().splitlines()
    assert sorted(table) == sorted(committed.with_suffix(".csv").read_text().splitlines())
    drawing = draw(rows, *more)
    assert drawing.finding  # which is said in it, and computed from these rows
    if ordered:  # the last bits of text and lines may differ between builds of FreeType
        now, stored = (imread(io.BytesIO(data)) for data in (drawing._render("png"), committed.read_bytes()))
        assert now.shape == stored.shape
        assert np.abs(now - stored).mean() < 0.004
