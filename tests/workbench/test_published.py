"""The printed numbers: complete, well-formed, and every table and figure has its row."""

import pytest

from tightrope.errors import InputError, UnknownNameError
from tightrope.workbench import published

NUMBERS = {
    "chen2021-mondeq": ["Table 1", "Table 2", "Table 3", "Figure 1", "Figure 2"],
    "chen2020-lipschitz": ["Table 1", "Table 2", "Table 3", "Table 4", "Figure 1", "Poster figures"],
    "salman2019-barrier": ["Table 1", "Figure 1", "Figure 2", "Figure 3"],
    "jovanovic2022-paradox": [f"Table {n}" for n in range(1, 15)] + [f"Figure {n}" for n in range(1, 11)],
}


@pytest.mark.parametrize("paper", NUMBERS)
def test_every_numbered_table_and_figure_has_a_row(paper):
    """None is missing, and one without a notebook says why."""
    results = [result for result in published.results() if result.paper == paper]
    assert [result.number for result in results] == NUMBERS[paper]
    for result in results:
        assert result.title
        assert result.kind in published.KINDS
        assert result.runnable or result.not_run, result.key


def test_cells_of_table_2():
    """The printed ratios, with kinds, tolerances and the set that each is for."""
    result = published.find("table-2-certified-ratio")
    robust = [result.cell(f"table-2/{s}/robustness") for s in ("l2-0.1", "linf-0.1", "linf-0.05", "linf-0.01")]
    assert [cell.printed for cell in robust] == [99, 0, 24, 99]
    assert [cell.clip for cell in robust] == [False] * 4
    pgd = result.cell("table-2/linf-0.05/pgd")
    assert (pgd.printed, pgd.kind, pgd.side, pgd.clip, pgd.interval) == (82, "bound", "upper", True, (73, 89))
    assert len({cell.id for cell in result.cells}) == len(result.cells)


def test_names_are_checked():
    """A misspelt result or cell names the near ones."""
    with pytest.raises(UnknownNameError, match="table-2-certified-ratio"):
        published.find("table-2-certified-ratios")
    with pytest.raises(UnknownNameError, match="robustness"):
        published.find("table-2-certified-ratio").cell("table-2/l2-0.1/robust")


def write(folder, cells):
    (folder / "published.yaml").write_text(
        f"paper: p\nresults:\n  - {{name: r, number: Table 1, title: t, kind: bound, cells: {cells}}}\n"
    )


def test_a_malformed_cell_is_refused(tmp_path):
    """Unknown kinds and keys, missing sides and intervals, repeated ids."""
    for cells, message in (
        ("[{id: a, printed: 1, kind: exact}]", "deterministic"),
        ("[{id: a, printed: 1, kind: bound}]", "side"),
        ("[{id: a, printed: 1, kind: statistical}]", "interval"),
        ("[{id: a, printed: 1, kind: timing, tolerence: 1}]", "tolerance"),
        ("[{id: a, printed: 1, kind: timing}, {id: a, printed: 2, kind: timing}]", "repeated"),
    ):
        write(tmp_path, cells)
        with pytest.raises(InputError, match=message):
            published.read(tmp_path)


def test_parameters_of_a_profile(tmp_path, monkeypatch):
    """The quick profile is the notebook's defaults; the paper's sizes come from paper.yaml."""
    write(tmp_path, "[]")
    (tmp_path / "paper.yaml").write_text("r: {images: 100}\n")
    (result,) = published.read(tmp_path)
    defaults = {"images": 10, "seed": 0, "profile": "quick"}
    monkeypatch.setattr(published, "defaults", lambda result: defaults)
    assert published.parameters(result, "quick") == defaults
    assert published.parameters(result, "paper") == {"images": 100, "seed": 0, "profile": "paper"}
    with pytest.raises(UnknownNameError, match="quick"):
        published.parameters(result, "fast")
