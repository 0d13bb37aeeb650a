"""Tables and figures as functions of rows, and the sweeps that fill them."""

import json
import re

import numpy as np
import pytest

from tightrope import paths, zoo
from tightrope.errors import CertificateError, InputError
from tightrope.results.chen2021_mondeq import adversarial_example, exact, lipschitz_bounds
from tightrope.results.chen2021_mondeq import certified_ratio as ratio
from tightrope.workbench import published, registry
from tightrope.workbench.records import Store
from tightrope.workbench.rows import Rows

NETWORK = next(name for name in zoo.names() if name.startswith("digits/"))
BALLS = dict(network=NETWORK, images=2, epsilons_l2=[0.1], epsilons_linf=[0.1, 0.05])
PARAMETERS = dict(**BALLS, method="cascade", seed=0)
EXAMPLE = dict(network=NETWORK, image=0, norm="inf", clip=True, seed=0)


def row(image=0, robustness="certified", pgd="unknown", **changes):
    """A row of Table 2."""
    base = dict(image=image, norm="inf", epsilon_pixel=0.05, clip=False, label=7, predicted=7)
    base |= dict(robustness=robustness, pgd=pgd, foolbox="unknown", seconds=2.0)
    return {**base, "labels": [{"bound": -1.0, "seconds": 0.5}, {"bound": None, "seconds": 0.0}], **changes}


def test_counts_by_setting():
    """Certified, attacked, Foolbox's share, times; largest radius first."""
    rows = [
        row(0),
        row(1, "falsified", "falsified", foolbox="falsified", seconds=4.0),
        row(2, "falsified", "falsified"),
        row(0, "unknown", epsilon_pixel=0.1),
    ]
    table = ratio.ratios(Rows(rows))
    large, small = (dict(zip(table.columns, line, strict=True)) for line in table.rows)
    names = ("epsilon", "images", "certified %", "not attacked %", "Foolbox alone %", "undecided")
    assert tuple(large[name] for name in names) == (0.1, 1, 0, 100, 100, 1)
    assert tuple(small[name] for name in names) == (0.05, 3, 33.3, 33.3, 66.7, 0)
    assert ratio.seconds(Rows(rows)).rows[1][3:] == (pytest.approx(8 / 3), 0.5)


def test_ratio_table_tells_the_two_sets_apart():
    """With an exact interval for each of the two ratios."""
    rows = [row(i, clip=clip) for i in range(2) for clip in (False, True)]
    table = ratio.ratios(Rows(rows))
    ball, clipped = (dict(zip(table.columns, line, strict=True)) for line in table.rows)
    assert (ball["set"], clipped["set"]) == ("ball", "ball in [0, 1]")
    assert (ball["certified %"], clipped["not attacked %"]) == (100, 100)
    assert ball["95 % of certified"] == "[16, 100]"


@pytest.mark.parametrize(
    ("attacked", "wrong"),
    [
        (dict(), True),  # the same set
        (dict(clip=True), True),  # a smaller set
        (dict(epsilon_pixel=0.01), True),
        (dict(norm=2), True),  # the L2 ball lies in the L-infinity ball of its radius
        (dict(epsilon_pixel=0.1), False),  # a larger set
        (dict(image=1), False),
    ],
)
def test_no_image_is_certified_on_a_set_that_holds_an_attack(attacked, wrong):
    """Also across sets: what is inside a certified set cannot hold an attack."""
    rows = Rows([row(), row(**{"robustness": "falsified", "pgd": "falsified", **attacked})])
    assert bool(ratio.contradictions(rows)) is wrong
    if wrong:
        with pytest.raises(CertificateError, match="images 0"):
            ratio.ratios(rows)
    else:
        ratio.ratios(rows)


def test_an_attack_on_the_unclipped_ball_does_not_contradict_the_clipped_certificate():
    """The attack may lie outside the pixel range."""
    assert not ratio.contradictions(Rows([row(clip=True), row(pgd="falsified", robustness="falsified")]))


def test_cells_are_those_of_whole_settings():
    """A setting with an image missing has no cell; the clipped set feeds PGD, the ball the certificates."""
    rows = [row(i, epsilon_pixel=0.05, clip=clip) for i in range(2) for clip in (False, True)]
    rows.append(row(0, epsilon_pixel=0.1))
    cells = ratio.cells(Rows(rows), profile="custom", **BALLS)
    assert set(cells) == {"table-2/linf-0.05/robustness", "table-2/linf-0.05/pgd"}
    assert cells["table-2/linf-0.05/robustness"].value == 100
    radii = [(2, 0.1), ("inf", 0.1), ("inf", 0.05)]
    rows = [
        row(i, norm=norm, epsilon_pixel=e, clip=clip) for i in range(2) for norm, e in radii for clip in (False, True)
    ]
    cells = ratio.cells(Rows(rows), profile="custom", **BALLS)
    assert cells["table-2/certified-and-attacked"].value == 0
    assert cells["table-2/seconds/robustness-per-example"].value == 2.0
    assert len(cells) == 9


def test_table_2_solves_each_case_once(tmp_path, monkeypatch):
    """Three radii, two sets, two images; the second call finds all rows."""
    solved = []

    def solve(case):
        solved.append(case)
        return {k: v for k, v in row().items() if k not in case}

    monkeypatch.setattr(ratio.table_2, "solver", solve)
    with Store(tmp_path / "records.sqlite") as store:
        first = ratio.table_2(store=store, **PARAMETERS)
        again = ratio.table_2(store=store, **PARAMETERS)
    assert len(solved) == len(first.rows) == 12
    assert again.rows == first.rows
    assert [case["image"] for case in solved] == [0] * 6 + [1] * 6
    assert {(c["norm"], c["epsilon_pixel"], c["clip"]) for c in solved} == {
        (n, e, c) for n, e in ((2, 0.1), ("inf", 0.1), ("inf", 0.05)) for c in (False, True)
    }
    assert json.loads(json.dumps(first.rows)) == list(first.rows)
    assert not list(tmp_path.glob("*/*.csv"))  # only rows of the paper profile are for committing
    assert len(first.images.rows) == 2
    assert len(first.seconds.rows) == 6


def test_a_fresh_clone_solves_nothing_of_the_paper_profile(tmp_path, monkeypatch):
    """The committed CSV is enough."""

    def solve(case):
        return {k: v for k, v in row().items() if k not in case}

    monkeypatch.setattr(ratio.table_2, "solver", solve)
    with Store(tmp_path / "records.sqlite") as store:
        first = ratio.table_2(profile="paper", store=store, **PARAMETERS)
    monkeypatch.setattr(ratio.table_2, "solver", pytest.fail)
    with Store(tmp_path / "clone.sqlite") as clone:
        again = ratio.table_2(profile="paper", store=clone, **PARAMETERS)
    assert again.rows == first.rows


@pytest.mark.parametrize("images", [0, -1, 10**6, 2.5, True])
def test_a_wrong_number_of_images_is_refused(images):
    """Before anything is solved."""
    with pytest.raises(InputError, match="images"):
        ratio.table_2.own_cases("quick", {**PARAMETERS, "images": images})


@pytest.mark.parametrize("name", ["table-1-problem-sizes", "table-2-certified-ratio", "table-3-lipschitz-bounds"])
def test_a_network_with_layers_is_refused(name):
    """Before anything is solved; Figure 2, and Table 2 without the columns beside it, take one."""
    values = published.parameters(published.find(name), "quick")
    with pytest.raises(InputError, match=r"digits/relu-16 has layers"):
        registry.experiment(published.find(name)).all_cases(values | {"network": "digits/relu-16"})


def test_a_decided_case_holds_together():
    """A real case: the verdicts agree with the bounds, and the row survives JSON."""
    (case, *_) = ratio.cases(**PARAMETERS)
    outcome = ratio.attack_and_certify(case)
    proof = outcome.pop("certificate")
    assert (proof is not None) == (outcome["robustness"] == "certified")
    assert proof is None or proof.proven
    assert json.loads(json.dumps(outcome)) == outcome
    assert outcome["robustness"] in ("certified", "falsified", "unknown")
    if outcome["robustness"] == "certified":
        assert outcome["pgd"] == "unknown"
        assert all(label["bound"] is not None and label["bound"] < 0 for label in outcome["labels"])
    assert len({label["label"] for label in outcome["labels"]}) == len(outcome["labels"]) == 9


def test_figure_2_shows_an_attack_in_its_set(tmp_path):
    """A radius at which the digits network falls: the pixels of the row are in the set and lose the label."""
    with Store(tmp_path / "records.sqlite") as store:
        example = adversarial_example.figure_2(store=store, epsilon_pixel=0.3, **EXAMPLE)
    (row,) = example.rows
    original, attacked = adversarial_example.images_of(row)
    assert np.abs(attacked - original).max() <= 0.3 + 1e-9
    assert (attacked >= -1e-9).all() and (attacked <= 1 + 1e-9).all()
    assert row["attack_label"] != row["label"]
    margins = [line[4] for line in example.scores.rows]
    assert max(margins) == margins[row["attack_label"]] >= 0
    pixels = adversarial_example.pixels(example.rows).rows
    assert [line[:2] for line in pixels[7:9]] == [(0, 7), (1, 0)] and len(pixels) == 64


def test_figure_2_without_an_attack(tmp_path):
    """A radius of almost nothing: no attack, which the tables say."""
    with Store(tmp_path / "records.sqlite") as store:
        example = adversarial_example.figure_2(store=store, epsilon_pixel=1e-6, **EXAMPLE)
    assert adversarial_example.images_of(example.rows[0])[1] is None
    assert ("attack found", False) in example.numbers.rows
    assert adversarial_example.cells(example.rows)["figure-2/attacks-found"].value == 0


def test_constants_of_a_custom_run_are_the_quick_ones_with_and_without_the_papers_data(tmp_path, monkeypatch):
    """A profile whose data are not there has not this network either."""

    def profiles():
        registry.profile_cases.cache_clear()
        cases = lipschitz_bounds.global_constants.own_cases(registry.CUSTOM, {"network": "digits/mondeq-16"})
        return {case["profile"] for case in cases}

    assert profiles() == {"quick"}
    monkeypatch.setenv("TIGHTROPE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert profiles() == {"quick"}
    registry.profile_cases.cache_clear()


def test_what_the_readme_says_of_each_image_is_in_the_rows():
    """Images that order 1+cuts certifies, and those that stay open, by radius and set."""
    text = (paths.PAPERS / "chen2021-mondeq/README.md").read_text(encoding="utf-8")
    said = re.search(r"Order `1\+cuts` certifies (.*?)\. Images (.*?) stay open", " ".join(text.split()))
    kinds = {(0.1, False): "0.1 unclipped", (0.1, True): "0.1 clipped"}
    kinds |= {(0.05, False): "0.05 unclipped", (0.05, True): "0.05 clipped"}
    found = {}
    for row in registry.experiments("chen2021-mondeq")["table-2-orders"].kept("paper"):
        found.setdefault((row["verdict"], kinds[row["epsilon_pixel"], row["clip"]]), set()).add(row["image"])
    for verdict, words in (("certified", said[1]), ("unknown", said[2])):
        listed = {
            where: set(map(int, re.findall(r"\b\d+\b", images)))
            for images, where in re.findall(r"([\d, and]*\d) \((0\.\d+ \w+)", words)
        }
        assert listed == {where: images for (v, where), images in found.items() if v == verdict}


def test_every_image_of_table_2_has_an_answer():
    """Branch and bound leaves none undecided, and contradicts no row: neither the relaxation's nor an attack's."""
    experiments = registry.experiments("chen2021-mondeq")
    decisions, rows = experiments["table-2-certified-ratio"].kept("paper"), experiments["table-2-exact"].kept("paper")
    found = {
        ball: (count["relaxation"] + count["exact"], count["falsified"])
        for ball, count in exact.answers(decisions, rows)
        if not count["undecided"]
    }
    assert found == {
        (2, 0.1, False): (99, 1),
        (2, 0.1, True): (99, 1),
        ("inf", 0.1, False): (1, 99),
        ("inf", 0.1, True): (8, 92),
        ("inf", 0.05, False): (28, 72),
        ("inf", 0.05, True): (75, 25),
        ("inf", 0.01, False): (98, 2),
        ("inf", 0.01, True): (99, 1),
    }
    for row in experiments["table-2-orders"].kept("paper").where(verdict="certified"):
        ball = {name: row[name] for name in ("norm", "epsilon_pixel", "clip", "image")}
        assert rows.one(**ball)["verdict"] == "certified"
