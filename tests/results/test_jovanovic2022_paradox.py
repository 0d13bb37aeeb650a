"""The results of the paradox paper: what is printed and exact, quick profiles, the kept rows, the errata."""

import numpy as np
import pytest

from tightrope import datasets, zoo
from tightrope.errors import InputError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.relaxations.triangle import corners
from tightrope.results.jovanovic2022_paradox import accuracy, tightness
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, OWN, PAPER, questions
from tightrope.results.jovanovic2022_paradox.cross_certification import certify_group, table_7
from tightrope.results.jovanovic2022_paradox.discontinuity import figure_3
from tightrope.results.jovanovic2022_paradox.relu_regions import figure_1
from tightrope.results.jovanovic2022_paradox.shifts import figure_4
from tightrope.results.jovanovic2022_paradox.trained_networks import table_3
from tightrope.results.jovanovic2022_paradox.worked_example import figure_8
from tightrope.workbench import published
from tightrope.workbench.cases import box_case, dataset, entry
from tightrope.workbench.compare import agreement
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.records import Store
from tightrope.workbench.rows import Rows

DIGITS = [f"digits/fc-{name}" for name in OWN]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "rows.sqlite") as opened:
        yield opened


def printed(experiment: Experiment) -> published.Result:
    return published.find(f"{PAPER}/{experiment.name}")


def agreements(experiment: Experiment, rows: Rows) -> dict[str, str]:
    """Cell id -> agreement, for the cells that are computed."""
    result = printed(experiment)
    values = experiment.values(rows, {"images": 10_000, "epsilon_pixel": 0.3, "profile": "paper"})
    known = {cell.id: cell for cell in result.cells if not cell.not_run}
    return {id: agreement(known[id], value.value) for id, value in values.items() if id in known}


def from_mask(text: str, count: int) -> np.ndarray:
    """The booleans of a row's hexadecimal text, the first one in the highest bit."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(str(text)), np.uint8), count=count).astype(bool)


# --------------------------------------------------------------------------------------------------- exact results


def test_figure_8_reproduces_the_worked_example(store):
    """Every printed bound but u_21, which leaves an intercept out."""
    found = agreements(figure_8, figure_8(store=store).rows)
    assert len(found) == 11
    assert {id for id, word in found.items() if word != "reproduced"} == {"figure-8/u-21"}


def test_figure_3_finds_the_jumps_where_the_theory_has_them(store):
    bounds = figure_3(points=31, store=store)
    found = agreements(figure_3, bounds.rows)
    assert len(found) == 17 and set(found.values()) == {"reproduced"}
    assert {line[-1] for line in bounds.jumps.rows} == {"continuous", "-l = u", "l = 0"}
    places = {line[0]: line[2:] for line in bounds.places.rows}
    assert places.pop("CROWN") == places.pop("CROWN-IBP (R)") == places.pop("hBox") == (1, 1, 0)
    assert len(places) == 4 and set(places.values()) == {(0, 0, 0)}


def test_figure_1_regions_hold_the_relu(store):
    regions = figure_1(lower=-1.0, upper=1.5, store=store)
    areas = {row["method"]: row["area"] for row in regions.rows}
    assert areas["triangle"] == min(areas.values())
    for row in regions.rows:
        h, z = np.array(corners(row["method"], -1.0, 1.5)).T
        # Every point of the ReLU's graph is on the inner side of each edge of the polygon, which is convex.
        x = np.linspace(-1, 1.5, 50)
        edges = zip(h, z, np.roll(h, -1), np.roll(z, -1), strict=True)
        sides = np.array([(c - a) * (np.maximum(x, 0) - b) - (d - b) * (x - a) for a, b, c, d in edges])
        assert (sides >= -1e-12).all() or (sides <= 1e-12).all(), row["method"]


# --------------------------------------------------------------------------------------------------- quick profile


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Table 7 on the first 120 digits."""
    with Store(tmp_path_factory.mktemp("rows") / "rows.sqlite") as opened:
        yield table_7(networks=DIGITS, images=120, epsilon_pixel=0.1, group=500, store=opened).rows


def test_the_paradox_is_visible_on_digits(quick):
    """The order of tightness on natural training is in test_tightness; here, the loosest relaxation trains best."""
    own = {r["network"]: r["certified"] for r in quick if r["method"] == OWN[r["network"].split("fc-")[1]]}
    box = own.pop("digits/fc-box")
    own.pop("digits/fc-crown-ibp")  # a mixture with Box
    assert all(box >= other for other in own.values())


def test_what_is_certified_has_no_attack(quick):
    """Certified images are among those that the search left, and hBox certifies what Box does."""
    for row in quick:
        certified, searched = (from_mask(row[name], 120) for name in ("certified_mask", "searched_mask"))
        assert (certified <= searched).all() and certified.sum() == row["certified"]
    for network in DIGITS:
        box, hbox = (from_mask(quick.one(network=network, method=m)["certified_mask"], 120) for m in ("box", "hbox"))
        assert (box <= hbox).all()
    assert all(row["allowance"] < 1e-6 for row in quick)
    assert all(row["closest"] is None or row["closest"] > row["allowance"] for row in quick)


def test_skipping_attacked_images_changes_nothing():
    """The same count with every rightly labelled image looked at."""
    case = box_case("digits/fc-crown", 0.1, "crown", {"elision": True}, first=0, count=60)
    found, x, lower, upper, labels = questions(case)
    whole = certify(found.network, InputSet.boxes(lower, upper), labels, "crown").certified
    row = certify_group(case)
    assert (from_mask(row["certified_mask"], 60) == (whole & (found.network.predict(x) == labels))).all()


def test_tightness_has_the_printed_order_and_crown_0_nothing(store):
    one = dict(networks=["digits/fc-natural"], image_counts=[60], largest=[0.05], count=6, group=50)
    curves = tightness.table_4(**one, programs=[], program_images=None, store=store)
    areas = {line[0]: line[1] for line in curves.areas.rows}
    assert areas["Box"] < min(areas["hBox"], areas["CROWN-IBP (R)"])
    assert max(areas["hBox"], areas["CROWN-IBP (R)"]) < min(areas["DeepZ"], areas["CROWN"])
    assert areas["CROWN-0"] == 0
    assert tightness.cr_auc([0, 0.1, 0.2], [100, 50, 0]) == pytest.approx(10)


def test_triangle_is_the_tightest_of_all_curves(store):
    networks = ["digits/fc-natural"]
    one = dict(networks=networks, image_counts=[6], largest=[0.08], count=3, programs=networks, store=store)
    curves = tightness.table_4(**one, program_images=None, group=50)
    areas = {line[0]: line[1] for line in curves.areas.rows}
    assert areas["Triangle"] == max(areas.values()) > areas["Parallelogram"] > 0
    fewer = tightness.table_4(**one, program_images=3, group=3).rows
    assert {row["first"] for row in fewer} == {0, 3} and {row["first"] for row in tightness.shared(fewer)} == {0}


@pytest.mark.parametrize("method", ["box", "hbox", "crown", "triangle", "parallelogram"])
def test_bisection_and_skipped_images_change_no_curve(method):
    """Counted radius by radius, every image asked at every radius."""
    case = box_case("digits/fc-pgd", 0.12, method, {"elision": True, "radii": 5}, first=0, count=4)
    curve = tightness.certified_along_radii(case)["certified"]
    data, network = dataset("digits"), entry("digits/fc-pgd").network
    correct = network.predict(data.normalisation.to_input(data.images[:4])) == data.labels[:4]
    everyone = [tightness.certified_at(case, method, np.full(4, i), correct)[0].sum() for i in range(5)]
    assert curve == everyone and curve[0] > curve[-1]


def test_table_3_attacks_what_was_trained_by_attacks(store):
    networks = ["digits/fc-natural", "digits/fc-pgd"]
    trained = table_3(networks=networks, image_counts=[40, 40], epsilons=[0.0, 0.1], group=500, store=store)
    natural, pgd = trained.robustness.rows
    assert natural[2] > 90 and natural[3:] == (None, None, None)
    assert pgd[5] <= pgd[4] <= pgd[2] and pgd[4] > 0


def test_shifted_bounds_jump_only_where_theory_allows_it(store):
    one = dict(networks=["digits/fc-natural"], image=0, epsilon_pixel=0.05, reach=0.05, points=41)
    jumps = {line[1]: line[2] for line in figure_4(**one, store=store).jumps.rows}
    assert jumps["Box"] == jumps["DeepZ"] == 0 and jumps["hBox"] > 0


def test_own_certificates_add_up(store):
    two = dict(networks=["digits/fc-box", "digits/fc-deepz"], images=40, epsilon_pixel=0.1, group=500, store=store)
    for row in accuracy.table_8(**two).rows:
        assert row["certified"] <= row["standing"] <= row["correct"] <= row["count"] == 40
    assert [line[0] for line in accuracy.table_2(**two).properties.rows] == ["Box", "DeepZ"]


def test_bad_input_by_name():
    with pytest.raises(InputError, match="images"):
        table_7(networks=["digits/fc-box"], images=361, epsilon_pixel=0.1, group=500)
    with pytest.raises(InputError, match="how it was trained"):
        accuracy.table_8(networks=["digits/fc-natural"], images=1, epsilon_pixel=0.1, group=1)
    with pytest.raises(InputError, match="programs"):
        one = dict(networks=["digits/fc-natural"], image_counts=[1], largest=[0.1], count=2, group=1)
        tightness.figure_9(**one, programs=["digits/fc-pgd"], program_images=1)


# ------------------------------------------------------------------------------------------------------ paper's


def test_kept_rows_of_table_7_agree_with_the_print():
    """Each network and relaxation whose 10 000 images are all there."""
    rows = table_7.kept("paper")
    if not rows:
        pytest.skip("no rows of the paper profile are kept")
    found = agreements(table_7, rows)
    assert found.pop("table-7/fc-0.3/deepz/hbox", "disagrees") == "disagrees"  # erratum 9
    assert set(found.values()) <= {"reproduced"}
    assert all(row["closest"] is None or row["closest"] > row["allowance"] for row in rows)


@pytest.mark.published
@pytest.mark.parametrize(
    ("elision", "clip", "percent"), [(True, True, 74.02), (False, True, 63.39), (True, False, 69.44)]
)
def test_what_the_printed_numbers_are_for(elision, clip, percent):
    """Box on FC trained with Box, printed 74.0: with elision, on boxes cut to the pixel range; all 10 000 images."""
    found, data = zoo.get("jovanovic2022-paradox/fc-box"), datasets.load("mnist")
    to_input, ends = found.normalisation.to_input, (0, 1) if clip else (-np.inf, np.inf)
    box = InputSet.boxes(*(to_input(np.clip(data.images + shift, *ends)) for shift in (-0.3, 0.3)))
    correct = found.network.predict(to_input(data.images)) == data.labels
    verdict = certify(found.network, box, data.labels, "box", elision=elision, consider=correct, batch=500)
    assert round(100 * verdict.certified.mean(), 2) == percent


@pytest.mark.published
def test_one_cell_of_table_7_is_without_elision():
    """Erratum 9: on FC trained with DeepZ, hBox certifies 3 of the first 500 images with elision, 1 or none without."""
    certified = {}
    for elision in (True, False):
        case = box_case("jovanovic2022-paradox/fc-deepz", 0.3, "hbox", {"elision": elision}, first=0, count=500)
        certified[elision] = certify_group(case)["certified"]
    assert certified[False] <= 1 < certified[True] == 3


@pytest.mark.published
def test_hbox_as_described_is_tighter_than_as_printed():
    """Erratum 1: FC trained with CROWN-IBP (R), printed 10.4 %, is near that as a hybrid zonotope only."""
    share = {}
    for method in ("hbox", "hbox_back"):
        case = box_case("jovanovic2022-paradox/fc-crown-ibp-r", 0.3, method, {"elision": True}, first=0, count=100)
        share[method] = certify_group(case)["certified"]
    assert share["hbox"] < 20 and share["hbox_back"] > 50


def test_every_certifier_is_a_column():
    assert {cell.id.rsplit("/", 1)[1].replace("-", "_") for cell in printed(table_7).cells} == set(CERTIFIERS)
    assert zoo.get("digits/fc-box").network.classes == 10
