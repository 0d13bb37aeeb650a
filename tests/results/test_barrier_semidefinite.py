"""Rows of Shor's relaxation beside Table 1: order of the columns, agreement with branch and bound, small cases anew."""

from dataclasses import replace

import pytest

from tightrope import checker, paths
from tightrope.question import Verdict
from tightrope.results.salman2019_barrier.common import verdicts
from tightrope.results.salman2019_barrier.robust_error import table_1
from tightrope.results.salman2019_barrier.semidefinite import GROUP, cases, cross, lines_of, table_1_semidefinite
from tightrope.verifiers.cascade import LP_ALL, By
from tightrope.workbench import certificates, proving
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
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


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    """A row of ten images with its file: certified by lines and by order 1, and one with a wrong label."""
    home = tmp_path_factory.mktemp("certificates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(certificates.FOLDER_VARIABLE, str(home))
        patch.setattr(paths, "RESULTS", home, raising=False)
        (case,) = table_1_semidefinite.own_cases("quick", {"beyond": [["digits/fc-pgd", 0.08, 10, 10]], "seed": 0})
        with Store() as store:
            store.put(case, cross(case))
            solver = table_1_semidefinite.solver
            patch.setattr(table_1_semidefinite, "solver", None)  # nothing that the letters do not name is solved
            said = []
            done = proving.prove([find(table_1.name)], "quick", store, only=table_1_semidefinite.name, say=said.append)
            assert (done.proven, done.refused) == (1, 0), said
            patch.setattr(table_1_semidefinite, "solver", solver)
            yield store.get(case)


def test_a_row_is_proven_image_by_image(row):
    """One file: for each certified image all labels, for each attacked one a point; what is open claims nothing."""
    assert not certificates.check(row, verdicts(row)).reason
    parts = verdicts(row).parts
    letters = [By(letter) for letter in row["decided_by"]]
    assert [len(part.claims) for part in parts] == [
        9 if by.verdict is Verdict.CERTIFIED else 1 for by in letters if by is not By.NOTHING
    ]
    content = (certificates.folder() / certificates.name_of(row)).read_bytes()
    files = checker.all_from_bytes(content)
    assert len(files) == len(parts) + letters.count(By.SHOR)
    assert {file.theory for file in files} == {"relu-linear", "relu-point", "mondeq-phases"}
    assert len(content) < 20_000 * len(parts)
    assert verdicts({**row, "decided_by": "?" * 10}) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"first": 10}, "another image or region"),
        ({"epsilon_pixel": 0.0801}, "another image or region"),
        ({"clip": False}, "another image or region"),
        ({"network": "digits/fc-box"}, "another network"),
        ({"network_sha256": "0" * 64}, "another network"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_row_about_something_else_is_refused(row, change, reason):
    other = {**row, **change}
    assert reason in certificates.check(other, verdicts(other)).reason


def test_other_letters_are_refused(row):
    """An attack in place of a certificate, and the other way round; a letter of an image that the file leaves out."""
    letters = row["decided_by"]
    for place, letter in enumerate(letters):
        other = By.PGD if By(letter).verdict is Verdict.CERTIFIED else By.GREEDY
        changed = {**row, "decided_by": letters[:place] + other.value + letters[place + 1 :]}
        assert "does not claim what the row says" in certificates.check(changed, verdicts(changed)).reason


def test_a_file_that_lacks_an_image_or_proves_less_is_refused(row):
    path = certificates.folder() / certificates.name_of(row)
    content = path.read_bytes()
    files = checker.all_from_bytes(content)

    def reason(files):
        changed = b"".join(file.to_bytes() for file in files)
        path.write_bytes(changed)
        return certificates.check(row, verdicts(row), certificates.sha256_of(path)).reason

    try:
        for number in range(len(files)):
            assert "does not claim" in reason(files[:number] + files[number + 1 :])
        (place, attack), *_ = ((n, file) for n, file in enumerate(files) if file.theory == "relu-point")
        false = replace(attack, claims=[{**attack.claims[0], "least": "1000"}])
        assert ">= 1000" in reason([*files[:place], false, *files[place + 1 :]])
    finally:
        path.write_bytes(content)
