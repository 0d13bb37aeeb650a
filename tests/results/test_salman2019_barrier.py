"""Results of salman2019-barrier: rows to tables, arrows of Figure 1, printed numbers."""

import numpy as np
import pytest
import torch

from tightrope.errors import InputError, UnknownNameError
from tightrope.propagation.bounds import bounds
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.question import Question, Verdict
from tightrope.regions import Ball
from tightrope.results.salman2019_barrier import distortion, nonlinearities, relations, robust_error
from tightrope.results.salman2019_barrier.common import PAPER, title
from tightrope.verifiers.cascade import LP_ALL, By
from tightrope.verifiers.distortion import attacked_distortion, certified_distortion
from tightrope.workbench.cases import dataset, entry
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.rows import Rows

NETWORK = "digits/fc-deepz"
FILES = ("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "records.sqlite") as own:
        yield own


LIMITS = dict(time_limit=60.0, subproblems=60_000, seed=0)


def test_table_1_counts_and_resumes(store, monkeypatch):
    parameters = dict(lines=[[NETWORK, 0.1]], images=12, profile="custom", store=store, **LIMITS)
    first = robust_error.table_1(**parameters)
    (line,) = robust_error.error_bounds(first.rows)
    assert len(line.letters) == line.images == 12
    assert len(line.whole) == len(dataset("digits"))
    shares = [robust_error.percent(line.letters, kinds) for _, kinds, _ in robust_error.COLUMNS.values()]
    assert shares == sorted(shares)
    # Both kinds of rows agree on what LP-ALL certifies and LP-GREEDY certifies.
    for kinds in (robust_error.NOT_LP_ALL, robust_error.NOT_LP_GREEDY, (By.WRONG,)):
        assert robust_error.percent(line.letters, kinds) == robust_error.percent(line.whole[:12], kinds)
    for kind in (robust_error.table_1, robust_error.up_to_lp_all):
        monkeypatch.setattr(kind, "solver", None)  # a second run solves nothing
    assert robust_error.table_1(**parameters).rows == first.rows
    assert "(" not in str(first.errors)  # no printed number for another network


def test_letters_are_verdicts():
    assert {by.verdict for by in By} == {Verdict.CERTIFIED, Verdict.FALSIFIED, Verdict.UNKNOWN}
    assert len({by.value for by in By}) == len(By)


def test_every_arrow_holds(store):
    arrows = relations.figure_1(network=NETWORK, images=1, epsilons=[0.05], profile="custom", store=store)
    for relation in relations.RELATIONS:
        assert relations.violation(arrows.rows, relation) <= relation.tolerance, relation
    assert arrows.holds
    assert set(figures_places()) == set(relations.NODES)


def figures_places():
    from tightrope.figures.maps import PLACES

    return PLACES


def test_a_wrong_arrow_is_seen(store):
    """The measurement can fail: DeepZ is not never looser than the optimal relaxation."""
    arrows = relations.figure_1(network=NETWORK, images=1, epsilons=[0.08], profile="custom", store=store)
    wrong = relations.Relation("Box", "CROWN", relations.TIGHTER, 1e-8, "")
    assert relations.violation(arrows.rows, wrong) > 0.1


def test_figure_2_is_the_hull(store):
    hulls = nonlinearities.figure_2(lower=-2.0, upper=1.5, store=store, profile="custom")
    values = nonlinearities.cells(hulls.rows)
    assert values.keys() == {cell.id for cell in find(f"{PAPER}/{nonlinearities.figure_2.name}").cells}
    assert all(value.value == 1 for value in values.values())
    with pytest.raises(UnknownNameError, match="functions"):
        nonlinearities.figure_2(lower=-2.0, upper=1.5, functions=["swish"], store=store)


def test_theorems_4_1_and_4_2_hold_for_every_nonlinearity():
    table = nonlinearities.theorems(seed=1)
    for name, primal, network, relaxation, equal in table.rows:
        assert primal <= min(network, relaxation) + 1e-9 and equal, name


def test_brackets_are_sound_and_ordered():
    found, data = entry(NETWORK), dataset("digits")
    scale = found.normalisation
    box = tuple(float(end) for end in scale.to_input(np.array([0.0, 1.0])))
    right = int(np.flatnonzero(found.network.predict(scale.to_input(data.images)) == data.labels)[3])
    center, label = scale.to_input(data.image(right)), data.label(right)
    asked = Question(found.network, Ball(center, box[1] - box[0], np.inf, *box), label)
    attack = attacked_distortion(asked)
    lower = 0.0
    for method in distortion.METHODS:
        bracket = certified_distortion(asked, method, lower=lower, upper=attack.upper)
        assert lower <= bracket.lower < bracket.upper <= attack.upper
        lower = bracket.lower
    x = np.clip(center + np.random.default_rng(0).uniform(-lower, lower, (2000, len(center))), *box)
    assert (found.network.predict(x) == label).all()
    with pytest.raises(UnknownNameError, match="lp-al"):
        certified_distortion(asked, "lp-al")
    with pytest.raises(InputError, match="lower"):
        certified_distortion(asked, "lp-all", lower=0.2, upper=0.1)


def test_random_networks_keep_their_own_label(store):
    """The gap of a network that nobody trained: for the label that it gives the image."""
    name = "random/64-16-10/dense/0"
    own = dict(methods=list(distortion.METHODS), steps=10, seed=0, profile="custom", store=store)
    found = distortion.figure_3(networks=[name], images=2, **own)
    predicted = entry(name).network.predict(dataset("digits").images[:2])
    assert [row["label"] for row in found.rows] == list(predicted)
    for row in found.rows:
        radii = [row["radii"][method][0] for method in distortion.METHODS]
        assert 0 < radii[0] and sorted(radii) == radii and radii[-1] < min(row["pgd"], row["aimed"])
    with pytest.raises(InputError, match="random/64"):
        distortion.figure_3(networks=["random/64-16-10/s3/0"], images=2, **own)


def test_bad_input_by_name():
    with pytest.raises(InputError, match="images"):
        robust_error.table_1(lines=[[NETWORK, 0.1]], images=0, **LIMITS)
    with pytest.raises(UnknownNameError, match="fc-depz"):
        robust_error.table_1(lines=[["digits/fc-depz", 0.1]], images=1, **LIMITS)
    with pytest.raises(InputError, match="name, radius"):
        robust_error.table_1(lines=[["digits/fc-deepz"]], images=1, **LIMITS)
    with pytest.raises(InputError, match="a value of seed"):
        distortion.figure_3(networks=[NETWORK], images=1, methods=["lp-all"], steps=1)
    with pytest.raises(InputError, match="methods"):
        distortion.figure_3(networks=[NETWORK], images=1, methods=["lp-some"], steps=1, seed=0)


PRINTED = [
    ("salman2019-barrier/adv-mlp-b-0.03", 0.03),
    ("salman2019-barrier/adv-mlp-b-0.05", 0.05),
    ("salman2019-barrier/nor-mlp-b", 0.02),
    ("salman2019-barrier/lpd-mlp-b-0.1", 0.1),
    ("salman2019-barrier/lpd-mlp-b-0.4", 0.4),
]


@pytest.mark.published(*FILES, "salman2019-barrier/experiment_1/NOR_MLP_B.pth")
@pytest.mark.parametrize(("network", "epsilon"), PRINTED)
@pytest.mark.long
def test_lp_greedy_and_test_error_as_printed(network, epsilon):
    """All 10,000 images: the printed digits, with the ball cut to [0, 1]."""
    data, found = dataset("mnist"), entry(network).network
    line = f"table-1/{title(network).lower()}-{epsilon:g}"
    cells = {cell.id: cell.printed for cell in find(f"{PAPER}/{robust_error.table_1.name}").cells}
    assert f"{100 * (found.predict(data.images) != data.labels).mean():.2f}" == f"{cells[f'{line}/test-error']:.2f}"
    inputs = InputSet.boxes(np.clip(data.images - epsilon, 0, 1), np.clip(data.images + epsilon, 0, 1))
    proven = certify(found, inputs, np.array(data.labels), "deepz", batch=32)
    assert f"{100 * (~proven.certified).mean():.2f}" == f"{cells[f'{line}/lp-greedy']:.2f}"


@pytest.mark.published(*FILES)
def test_adv_mlp_a_is_not_a_matter_of_rounding():
    """The two images by which LP-GREEDY differs from the print are not certified in single precision either."""
    data, found = dataset("mnist"), entry("chen2020-lipschitz/sdp-nn").network
    images = [6501, 3546, 9033]
    x, labels = data.images[images], torch.tensor(data.labels[images])
    inputs = InputSet.boxes(np.clip(x - 0.1, 0, 1), np.clip(x + 0.1, 0, 1))
    single = InputSet(inputs.lower.float(), inputs.upper.float())
    worst = [bounds(found, sets, "deepz", labels).margins.double() for sets in (inputs, single)]
    worst = [margins.scatter(1, labels[:, None].long(), -torch.inf).max(1).values for margins in worst]
    assert (worst[0] > 2e-5).all() and float((worst[0] - worst[1]).abs().max()) < 2e-6
    every = InputSet.boxes(np.clip(data.images - 0.1, 0, 1), np.clip(data.images + 0.1, 0, 1))
    assert (found.predict(data.images) != data.labels).sum() == 418
    assert (~certify(found, every, np.array(data.labels), "deepz", batch=32).certified).sum() == 6752
    # A radius of 0.099983 would certify these two and not the next.
    smaller = InputSet.boxes(np.clip(x - 0.099983, 0, 1), np.clip(x + 0.099983, 0, 1))
    assert list(certify(found, smaller, data.labels[images], "deepz").certified) == [True, True, False]


def test_committed_rows_up_to_lp_all():
    """Test error, LP-ALL and LP-GREEDY as printed on the lines that are done; both kinds of rows agree."""
    by_tree, cheap = robust_error.table_1.kept("paper"), robust_error.up_to_lp_all.kept("paper")
    cells = {cell.id: cell.printed for cell in find(f"{PAPER}/{robust_error.table_1.name}").cells}
    done = 0
    for line in robust_error.error_bounds(Rows((*by_tree, *cheap))):
        certified = [[letter in {by.value for by in LP_ALL} for letter in one] for one in (line.letters, line.whole)]
        assert all(a == b for a, b in zip(*certified, strict=False))
        if len(line.whole) == 10_000:
            done += 1
            columns = ("test-error", "lp-all", "lp-greedy")
            ours = {name: robust_error.percent(line.whole, robust_error.COLUMNS[name][1]) for name in columns}
            printed = {column: cells[f"table-1/{line.name}/{column}"] for column in ours}
            assert ours["test-error"] == pytest.approx(printed["test-error"], abs=1e-9)
            assert ours["lp-all"] == pytest.approx(printed["lp-all"], abs=0.2)
            assert ours["lp-greedy"] == pytest.approx(printed["lp-greedy"], abs=0.03 if "mlp-a" in line.name else 1e-9)
    assert done or not cheap


def test_committed_rows_with_branch_and_bound_over_all_images():
    """The LPD lines are decided, as the MILP decides them but for one image; others are bounded closer than printed."""
    lines = robust_error.error_bounds(robust_error.table_1.kept("paper"))
    cells = {cell.id: cell.printed for cell in find(f"{PAPER}/{robust_error.table_1.name}").cells}
    whole = [line for line in lines if len(line.letters) == 10_000]
    for line in whole:
        ends = (robust_error.COLUMNS[f"milp-{side}"][1] for side in ("lower", "upper"))
        lower, upper = (robust_error.percent(line.letters, kinds) for kinds in ends)
        printed = [cells[f"table-1/{line.name}/milp-{side}"] for side in ("lower", "upper")]
        assert lower <= printed[1] + 0.0101 and upper >= printed[0] - 0.0101  # both hold the true error
        if line.name.startswith("lpd"):
            assert lower == upper == pytest.approx(printed[1], abs=0.0101)
        elif line.name.startswith("adv-mlp-b"):
            assert upper - lower < 0.3 * (printed[1] - printed[0])
    assert sum(line.name.startswith("lpd") for line in whole) in (0, 4)


def test_the_printed_search_went_in_steps_of_5_percent():
    """Of Figure 3's table: LP-LAST is 1.05 times LP-GREEDY, or LP-ALL is LP-LAST, to the last printed digit."""
    printed = {cell.id: cell.printed for cell in find(f"{PAPER}/figure-3-epsilon-gap").cells}
    lines = {name.rsplit("/", 1)[0] for name in printed if name.count("/") == 3}
    means = [[printed[f"{line}/{method}"] for method in distortion.METHODS] for line in lines]
    assert len(means) == 27
    assert sum(abs(last - 1.05 * greedy) < 0.012 for greedy, last, _ in means) == 12
    assert sum(last == most for _, last, most in means) == 5


def test_committed_radii_are_in_order_and_the_gap_depends_on_the_attack():
    """LP-GREEDY <= LP-LAST <= LP-ALL < both attacks; the attack aimed at each label makes smaller gaps than theirs."""
    rows = distortion.figure_3.kept("paper")
    assert rows and not any(row["clip"] for row in rows)
    for row in rows:
        radii = [row["radii"][method][0] for method in distortion.METHODS]
        assert 0 < radii[0] and sorted(radii) == radii and radii[-1] < min(row["pgd"] or np.inf, row["aimed"])
    for _, own in rows.by("network"):
        theirs = distortion.mean_radius(own, "pgd")  # None where 40 steps of 0.01 reach no other label of an image
        assert theirs is None or distortion.mean_radius(own, "aimed") <= 1.03 * theirs


def test_committed_rows_are_in_order():
    """In every committed row nothing that an attack refutes is certified, and each image has one letter."""
    rows = robust_error.table_1.kept("paper")
    if not rows:
        pytest.skip("no rows of the paper profile are committed")
    for row in rows:
        assert len(row["decided_by"]) == row["count"]
        assert set(row["decided_by"]) <= {by.value for by in By}
        assert row["decided_by"].count(By.NOTHING.value) == len(row["open"])
        for _, lp_all, greedy, _ in row["after_lp_all"]:
            assert 0 <= lp_all <= greedy + 1e-9  # LP-ALL left it open, and is no looser than LP-GREEDY
