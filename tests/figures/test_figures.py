"""Drawings: written as PNG, PDF and numbers, the same bytes for the same numbers."""

import numpy as np

from tightrope import figures
from tightrope.figures.curves import LOOK
from tightrope.results.chen2021_mondeq.common import undecided
from tightrope.results.jovanovic2022_paradox.common import best_mean, who_jumps
from tightrope.verifiers.relu_lipschitz import METHODS
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
    panels = {"digits": {"Box": [70.0, 80.0], "CROWN": [74.0]}, "mnist": {"Box": [1.0], "CROWN": [2.0]}}
    assert best_mean(panels) == "The highest mean: 75.0 % by Box (digits), 2.0 % by CROWN (mnist)"
    rows = Rows([{"method": "box", "jumps": []}, {"method": "crown", "jumps": [[0.0, 1.0, 0.0]]}])
    assert who_jumps(rows) == "Jumps are found in the bounds of CROWN; there are none in Box"


def test_lines_that_end_together_have_their_names_together():
    """And one that ends before the others has its name there."""
    x = [0.0, 1.0]
    lines = {"A": (x, [0.0, 1.0]), "B": (x, [1.0, 1.0]), "C": (x, [1.0, 0.0]), "D": ([0.0, 0.4], [0.5, 0.5])}
    drawing = figures.curves({"a panel": lines}, ("x", "y"), "curves", names="ends")
    texts = {text.get_text(): text.xy for text in drawing.figure.axes[0].texts}
    assert set(texts) == {"A\nB", "C", "D"} and texts["D"][0] < 0.5 < texts["C"][0]
    assert not drawing.figure.legends
