"""Rows of Shor's relaxation beside Table 1: order of the columns, agreement with branch and bound, small cases anew."""

import pytest

from tightrope.question import Verdict
from tightrope.results.salman2019_barrier.robust_error import table_1
from tightrope.results.salman2019_barrier.semidefinite import GROUP, cases, cross, lines_of, table_1_semidefinite
from tightrope.verifiers.cascade import LP_ALL, By
from tightrope.workbench.rows import Rows


def committed() -> Rows:
    return table_1_semidefinite.kept("paper")


def test_columns_are_in_order():
    """attacked <= exact, upper <= 1+cuts <= order 1 <= LP-ALL <= LP-LAST <= LP-GREEDY; what is open is counted."""
    lines = lines_of(committed())
    assert lines
    for line in lines:
        errors = [*line.errors.values(), line.attacked]
        counts = [round(error * line.images / 100) for error in errors]
        assert errors == pytest.approx([100 * count / line.images for count in counts])
        assert counts == sorted(counts, reverse=True)
        assert line.images % GROUP == 0 and counts[list(line.errors).index("LP-ALL")] >= line.open


def test_bounds_of_rows_decide_their_letters():
    """An image is certified by the last relaxation that was asked, and by no other, if that proves a bound below 0."""
    for row in committed():
        letters = {row["first"] + i: By(letter) for i, letter in enumerate(row["decided_by"])}
        for image, lp_all, shor, _ in row["after_lp_all"]:
            asked = sorted(shor, key="skt".index)
            *before, last = (shor[letter] for letter in asked)
            assert lp_all >= 0 and all(bound >= 0 for bound in before)
            assert (last < 0) == (letters[image].verdict is Verdict.CERTIFIED)
            assert not last < 0 or letters[image] == asked[-1]


def test_never_against_branch_and_bound():
    """Of images that both kinds of rows decide the verdicts are the same, and LP-ALL certifies the same."""
    both = 0
    tree = table_1.kept("paper")
    for row in committed():
        own = tree.where(network=row["network"], epsilon_pixel=row["epsilon_pixel"])
        others = {r["first"] + i: By(letter) for r in own for i, letter in enumerate(r["decided_by"])}
        for i, letter in enumerate(map(By, row["decided_by"])):
            other = others.get(row["first"] + i, By.NOTHING)
            assert (letter in LP_ALL) == (other in LP_ALL)
            if By.NOTHING not in (letter, other):
                assert letter.verdict is other.verdict
                both += 1
    assert both > 50


@pytest.mark.parametrize(("first", "letters"), [(0, "gwsggsgcsg")])
def test_digits_are_decided(first, letters):
    """Ten images of a network that was trained against attacks: three that LP-ALL leaves open, by order 1."""
    case = cases([["digits/fc-pgd", 0.08, 10, first + GROUP]], 0)[-1]
    row = cross(case)
    assert [By(letter).verdict for letter in row["decided_by"]] == [By(letter).verdict for letter in letters]
    assert row["decided_by"].count(By.SHOR) == 3 and not row["open"]
    assert set(row["lp_last"]) <= {i for i, letter in enumerate(row["decided_by"]) if letter in LP_ALL}
