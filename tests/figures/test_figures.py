"""Drawings: written as PNG, PDF and numbers, the same bytes for the same numbers."""

import numpy as np
import pytest

from tightrope import figures
from tightrope.figures.curves import LOOK
from tightrope.results.chen2020_lipschitz import pairwise_constants
from tightrope.results.chen2021_mondeq import certified_radii
from tightrope.results.chen2021_mondeq.common import undecided
from tightrope.results.jovanovic2022_paradox import accuracy, paradox
from tightrope.results.jovanovic2022_paradox.common import best_mean, who_jumps
from tightrope.results.salman2019_barrier import nonlinearities
from tightrope.verifiers.relu_lipschitz import METHODS
from tightrope.workbench.registry import experiments
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

BARS = [("L2  0.1  ball", 8, 1, 10, 99, None), ("L-infinity  0.1  ball", 0, 4, 10, None, 15)]


def example(attacked=True):
    """A made-up image and its attack."""
    original = np.linspace(0, 1, 16)
    row = dict(label=0, predicted=0, attack_label=1, scores=[1.0, -1.0], attack_scores=[0.0, 0.5])
    if not attacked:
        row |= dict(attack_label=None, attack_scores=None)
    return figures.adversarial_example(original, original[::-1] if attacked else None, (4, 4), row)


def test_the_same_numbers_give_the_same_files(tmp_path):
    """No dates, no random identifiers: a second run leaves the repository unchanged."""
    numbers = Table(("a",), ((0.1,),))
    contents = []
    for folder in ("one", "two"):
        drawing = figures.stacked_ratios(BARS, "bars")
        written = drawing.save("paper", "table", numbers, tmp_path / folder)
        contents.append([path.read_bytes() for path in written])
        assert [path.name for path in written] == ["table.png", "table.pdf", "table.csv"]
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG") and contents[0][1].startswith(b"%PDF")
    assert contents[0][2] == b"a\n0.1\n"


def test_what_a_notebook_keeps_of_a_drawing():
    """A picture, and text without addresses or paths."""
    drawing = example()
    assert drawing._repr_png_().startswith(b"\x89PNG")
    assert repr(drawing) == "<drawing: original, attacked image, difference and scores>"


def test_a_failed_attack_is_drawn_too():
    """The picture says that nothing was found."""
    assert example(attacked=False)._repr_png_().startswith(b"\x89PNG")


def test_looks_are_of_methods():
    assert set(LOOK) <= {method.title for method in METHODS.values()}


def test_numbers_written_beside_marks_are_bounds_themselves():
    """Upper bounds up, lower ones down, others to the nearest."""
    group = [("a", "upper", 3.68106), ("b", "lower", 3.57176), ("c", "UNPROVEN", 4.13036)]
    (axes,) = figures.bounds({"L2": group}, "bounds").figure.axes
    assert [text.get_text() for text in axes.texts] == ["3.682", "3.571", "4.13"]
    matrix, _bar = figures.pair_matrices({"L": np.array([[0.0, 1.2301], [np.nan, 0.0]])}, "constants").figure.axes
    assert [text.get_text() for text in matrix.texts] == ["1.24"]


def test_printed_numbers_are_drawn_and_explained():
    """Hollow, in the line of their name; only what is drawn is in the legend."""
    figure = figures.bounds({"L2": [("a", "upper", 3.7)]}, "bounds", {"L2": [("a", 4.67)]}).figure
    (axes,) = figure.axes
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"] == [4.67]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["proven: at most", "printed"]


def test_no_line_hides_another_and_every_jump_is_marked():
    """Later lines are thinner; a jump is a mark of its own in the legend."""
    x, y = [0, 1], [0, 0]
    figure = figures.curves({"p": {"Box": (x, y), "hBox": (x, y)}}, ("x", "y"), "t", {"p": [(0.5, 0, 1)]}).figure
    first, second, jump = figure.axes[0].lines
    assert first.get_linewidth() > second.get_linewidth() and list(jump.get_ydata()) == [0, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Box", "hBox", "jump"]


def test_a_drawing_is_the_same_each_time_it_is_rendered():
    """A second pass of the layout would move panels with colour bars."""
    constants = np.arange(1.0, 10.0).reshape(3, 3)
    drawing = figures.pair_matrices({"first": constants, "second": constants + 0.5}, "constants")
    assert drawing._repr_png_() == drawing._repr_png_()


def test_a_drawing_says_what_is_found():
    """Above its panels, or as the title of the legend that is there; nothing is drawn for nothing."""
    bars = [("a set", 24, 72, 100, 24.0, None), ("another", 99, 1, 100, None, None)]
    drawing = figures.stacked_ratios(bars, "bars")
    height = drawing.figure.get_figheight()
    assert drawing.saying("") is drawing and not drawing.finding
    said = drawing.saying(undecided(bars))
    assert said.finding == "On 2 sets 4 images stay undecided, at most 4 of 100 on one set"
    assert said.finding == said.figure.legends[0].get_title().get_text() and repr(said) == "<drawing: bars>"
    assert said.figure.get_figheight() > height
    plain = figures.matrix([[1.0, 2.0]], ["a"], ["b", "c"], "map", ("x", "y")).saying("two numbers")
    assert plain.figure.get_suptitle() == "two numbers" and plain._repr_png_()


def test_what_is_said_follows_the_numbers():
    """The best, the ends and the counts are those of what is drawn."""
    groups = {
        "L2": [("a", "upper", 3.0), ("b", "upper", 2.00001), ("c", "lower", 1.99999)],
        "L1": [("a", "upper", 1.0)],
    }
    assert figures.between(groups) == "between 1.999 and 2.001 (L2)"
    assert undecided([("a set", 24, 76, 100, None, None)]) == "No image is left undecided on any of the 1 sets"
    assert undecided([("a", 1, 1, 4, None, None), ("b", 0, 0, 9, None, None)]).endswith("at most 9 of 9 on one set")
    panels = {"digits": {"Box": [70.0, 80.0], "CROWN": [74.0]}, "mnist": {"Box": [1.0], "CROWN": [2.0]}}
    assert best_mean(panels) == "The highest mean: 75.0 % by Box (digits), 2.0 % by CROWN (mnist)"
    tied = {"digits": {"Box": [70.0, 80.0], "DeepZ": [75.0], "CROWN": [74.0]}}
    assert best_mean(tied) == "The highest mean: 75.0 % by Box and DeepZ (digits)"
    rows = Rows([{"method": "box", "jumps": []}, {"method": "crown", "jumps": [[0.0, 1.0, 0.0]]}])
    assert who_jumps(rows) == "Jumps are found in the bounds of CROWN; there are none in Box"


def kept(paper, name):
    return experiments(paper)[name].kept("paper")


def test_shares_are_the_same_only_where_they_are_equal():
    row = kept("chen2020-lipschitz", "table-4-ratio")[0]
    ours = {"qcqp": [90.0, 5.0, *[0.0] * 8], "lbs": [40.0, 5.0, *[0.0] * 8]}
    pair = [row | {"method": method, "certified": own} for method, own in ours.items()]
    said = "differ by at most 50 percentage points (at radius 0.01)"
    assert pairwise_constants.draw(Rows(pair)).finding.endswith(said)
    same = [row | {"method": method} for method in ("qcqp", "lbs")]
    assert pairwise_constants.draw(Rows(same)).finding.startswith("At every radius the 2 constants certify the same")


def test_constants_are_compared_on_one_ball_and_where_both_are_known():
    rows = kept("chen2020-lipschitz", "table-4-certified-ratio-sdp-nn")
    first = rows[0]["method"]
    own, other = rows.where(method=first, ball="paper")[:3], {"method": "lbs", "ball": "paper"}

    def said(change):
        return pairwise_constants.draw_constants(Rows([*own, *(row | change(row) for row in own)])).finding

    assert said(lambda row: other | {"value": 1.5 * row["value"]}).endswith("differ by at most 50 %")
    assert said(lambda row: {"ball": "images"}) == said(lambda row: other | {"value": None}) == ""
    lost = own[0]["part"]
    some = said(lambda row: other | {"value": None if row["part"] == lost else row["value"]})
    assert some.endswith("differ by at most 0 % on the 2 of 3 pairs that have both")


@pytest.mark.parametrize("lines", [[], [("Box", 1.0, 9.0)], [("Box", 0.0, 9.0), ("CROWN", 1.0, 2.0)]])
def test_no_ratio_to_nothing_is_said(lines, monkeypatch):
    table = Table(("relaxation", "tightness", "score"), lines)
    monkeypatch.setattr(paradox, "paradox", lambda rows, scores: table)
    assert paradox.draw(Rows([{"profile": "quick"}]), Rows()).finding == ""


def test_what_is_said_to_be_at_most_is_rounded_up():
    row = {"clip": False, "epsilon_pixel": 0.1, "image": 0, "verdict": "certified"}
    every = list(certified_radii.ORDERS)
    rows = Rows([row | {"certified_by": []}] + [row | {"certified_by": every}] * 79)
    assert "1.25 % by order 1" in certified_radii.draw(rows).finding
    far = Rows([row | {"gap_to_hull": 1.2e-6} for row in kept("salman2019-barrier", "figure-2-nonlinearities")])
    assert "none is further than 2e-06 from" in nonlinearities.draw(far).finding


def test_networks_that_certify_as_many_are_all_named():
    table = [row for row in kept("jovanovic2022-paradox", "table-8-mnist-fc") if row["first"] == 0]
    rows = [row | {"certified": count} for row, count in zip(table, (9, 9, 5), strict=False)]
    assert accuracy.draw(Rows(rows)).finding.count(" and ") == 1
    assert accuracy.draw(Rows(rows[:2])).finding == accuracy.draw(Rows(rows[:1])).finding == ""


def test_lines_that_end_together_have_their_names_together():
    """And one that ends before the others has its name there."""
    x = [0.0, 1.0]
    lines = {"A": (x, [0.0, 1.0]), "B": (x, [1.0, 1.0]), "C": (x, [1.0, 0.0]), "D": ([0.0, 0.4], [0.5, 0.5])}
    drawing = figures.curves({"a panel": lines}, ("x", "y"), "curves", names="ends")
    texts = {text.get_text(): text.xy for text in drawing.figure.axes[0].texts}
    assert set(texts) == {"A\nB", "C", "D"} and texts["D"][0] < 0.5 < texts["C"][0]
    assert not drawing.figure.legends
