"""Every committed drawing is what its code makes of the kept rows: the numbers beside it, and the picture."""

import inspect
import io

import numpy as np
import pytest
from matplotlib.image import imread

from tests.notebook_outputs import NUMBER
from tightrope import paths
from tightrope.errors import MissingDataError
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
    try:
        drawing, table = draw(rows, *more), numbers(rows, *more)
    except MissingDataError:
        pytest.skip("shows images of the papers' files")
    if not ordered:
        pytest.skip("the order of its cases needs the papers' files")
    assert drawing.finding  # which is said in it, and computed from these rows
    assert_alike(table.to_csv(), committed.with_suffix(".csv").read_text())
    # The last bits of text and lines may differ between builds of FreeType.
    now, stored = (imread(io.BytesIO(data)) for data in (drawing._render("png"), committed.read_bytes()))
    assert now.shape == stored.shape
    assert np.abs(now - stored).mean() < 0.004


def assert_alike(now: str, stored: str) -> None:
    """The same lines: words exactly, numbers up to what another processor's sums round."""
    for ours, line in zip(sorted(now.splitlines()), sorted(stored.splitlines()), strict=True):
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", line)
        assert [float(x) for x in NUMBER.findall(ours)] == pytest.approx([*map(float, NUMBER.findall(line))], rel=1e-9)


def test_a_number_that_moved_and_another_word_are_seen():
    assert_alike("a,1.00000000000001,[2, 3]", "a,1.0,[2, 3]")
    for other in ("a,1.0001,[2, 3]", "b,1.0,[2, 3]", "a,1.0,[2, 4]", "a,1.0,[2, 3]\na,1.0,[2, 3]"):
        with pytest.raises((AssertionError, ValueError)):
            assert_alike("a,1.0,[2, 3]", other)
