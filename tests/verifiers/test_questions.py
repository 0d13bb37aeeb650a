"""One question, its limits, one table of methods and one shape of answers, for every kind of network."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from tests.helpers import mondeq
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.propagation import layerwise, lines
from tightrope.properties import parse_vnnlib
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball, Zonotope
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.constants import lipschitz_bound as any_lipschitz_bound
from tightrope.verifiers.distortion import minimum_distortion
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.lipschitz import pairwise_bounds, upper_bound
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.methods import METHODS, known_method, methods
from tightrope.verifiers.mixed_integer import mixed_integer
from tightrope.verifiers.properties import certify_property
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.report import combined
from tightrope.verifiers.robustness import attack, certify, verify

RELU = FeedForward.dense(([[1.0, 0.5], [-1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.1, 0.0], [0.0, 3.0]))
BALL = Ball([0.1, 0.2], 0.1, INFINITY)
MONDEQ = mondeq(0, p=3, p0=2)


def test_a_question_has_its_targets_in_one_form():
    """Each once, as whole numbers; what was asked is not changed afterwards."""
    question = Question(MONDEQ, BALL, 0, iter([np.int64(2), 1, 2]))
    assert question.targets == (2, 1) and not question.everything and type(question.targets[0]) is int
    assert Question(MONDEQ, BALL, 1).targets == (0, 2) and Question(MONDEQ, BALL, 1).everything
    with pytest.raises(FrozenInstanceError):
        question.label = 1
    assert question.neurons == 3 and Question(RELU, BALL, 0).neurons == 2
    assert question.box is BALL and Question(MONDEQ, Ball([0.0, 0.0], 0.1, 2), 0).box is None


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": np.inf}, {"time": 0.0}, {"time": np.nan}])
def test_limits_that_make_no_sense_are_named(wrong):
    """Before they are given to anything."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        Limits(**wrong)


def test_the_table_knows_every_relaxation_and_its_other_names():
    """Those of `propagation`, in the same order."""
    layers = [name for name in METHODS if name not in methods()]
    assert layers == [*lines.RELAXATIONS, *layerwise.METHODS, "milp"]
    assert {other: method.name for method in METHODS.values() for other in method.same if not method.mondeq} == {
        **lines.SAME
    }
    assert methods(MONDEQ) == methods() and methods(RELU) == tuple(METHODS)


def test_a_method_is_refused_with_the_reason():
    """It is for other networks, regions or orders."""
    with pytest.raises(UnknownNameError):
        known_method(MONDEQ, "crown")
    assert known_method(RELU, "Fast-Lin").name == "deepz" and known_method(MONDEQ, "SHOR").name == "interior-point"
    zonotope = Question(RELU, Zonotope([0.0, 0.0], np.eye(2)), 0)
    for name, order, error, words in (
        ("milp", "1", RegionError, "milp is for boxes"),
        ("cascade", "1+cuts", RegionError, "not for a Zonotope"),
        ("scs", "1+cuts", InputError, "not with scs"),
        ("cascade", "3", UnknownNameError, "order"),
    ):
        with pytest.raises(error, match=words):
            METHODS[name].check(zonotope, order)


def test_the_old_name_says_what_to_write():
    """And answers as before, with the old arguments."""
    with pytest.warns(DeprecationWarning, match=r"certify\(\.\.\., limits="):
        old = verify(MONDEQ, BALL, 0, method="interior-point", tolerance=1e-4, seed=1, time_limit=9.0)
    new = certify(MONDEQ, BALL, 0, method="interior-point", limits=Limits(1e-4, 9.0, 1))
    assert [d.bound for d in old.decisions] == [d.bound for d in new.decisions]


PROPERTY = parse_vnnlib(
    "".join(f"(declare-const {v}_{i} Real)" for v in "XY" for i in range(2))
    + "".join(f"(assert (<= X_{i} 1))(assert (>= X_{i} 0))" for i in range(2))
    + "(assert (>= Y_0 9))"
)
ANSWERS = {
    "certify": lambda: certify(RELU, BALL, 1),
    "property": lambda: certify_property(RELU, PROPERTY),
    "tree": lambda: branch_and_bound(Question(RELU, BALL, 1)),
    "programs": lambda: mixed_integer(Question(RELU, BALL, 1)),
    "ellipsoid": lambda: outer_ellipsoid(MONDEQ, BALL),
    "constant": lambda: upper_bound(MONDEQ, 2),
    "pairs": lambda: pairwise_bounds(MONDEQ, 2),
    "local": lambda: local_upper_bound(MONDEQ, BALL),
    "relu constant": lambda: lipschitz_bound(RELU, BALL, 0, "shor"),
    "map": lambda: any_lipschitz_bound(RELU, BALL),
    "distortion": lambda: minimum_distortion(RELU, Ball([0.1, 0.2], 9.0, INFINITY), 1),
    "attack": lambda: attack(RELU, Ball([0.1, 0.2], 5.0, INFINITY), 1),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_one_shape(name):
    """A verdict, seconds, what JSON has, a table, and proofs or an error that says there are none."""
    report = ANSWERS[name]()
    words = {"programs": "computed", "attack": "falsified"}
    told = report.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["verdict"] == words.get(name, "certified") and told["seconds"] == report.seconds >= 0
    columns, rows = report.table()
    assert rows and all(len(row) == len(columns) for row in rows)
    assert repr(report) == f"<{type(report).__name__}: {report.headline}>" and "\n" not in repr(report)
    headline, header, *_ = str(report).splitlines()
    assert headline == report.headline and header.split() == " ".join(columns).split()
    drawn = report._repr_html_()
    assert drawn.count("<tr>") == len(rows) + 1 and drawn.count("<td") == len(rows) * len(columns)
    if name not in ("property", "tree", "programs", "map"):
        assert report.certificates().proven
    else:
        with pytest.raises(InputError, match="certificate"):
            report.certificates()


def test_files_of_a_feed_forward_network_follow_the_method():
    """Of linear bounds and of attacks."""
    for method in ("crown", "cascade"):
        report = certify(RELU, BALL, 1, method=method)
        assert report.certificates().proven and report.certificate(0).proven
    lost = certify(RELU, Ball([0.1, 0.2], 5.0, INFINITY), 1)
    assert lost.verdict is Verdict.FALSIFIED and lost.certificate(0).proven and lost.certificates().proven


def test_the_verdict_of_nothing_and_of_the_weakest():
    """Nothing asked is nothing to doubt; one failure counts more than any unknown."""
    assert combined([]) is Verdict.CERTIFIED
    assert combined([Verdict.CERTIFIED, Verdict.UNKNOWN, Verdict.FAILED]) is Verdict.FAILED


def test_a_label_is_any_whole_number():
    """Also one of NumPy, or a tensor, as argmax gives it."""
    for label in (np.int64(1), torch.tensor(1)):
        assert Question(RELU, BALL, label).label == 1
    for label in (1.0, torch.tensor(1.0), "1", None):
        with pytest.raises(InputError, match="label: got"):
            Question(RELU, BALL, label)


def test_labels_are_decided_until_the_question_is_answered():
    """Once an attack reaches a label the cascade leaves the others, unless all are asked for by that word."""
    label = (int(MONDEQ.predict(BALL.center)) + 1) % MONDEQ.classes
    answered, whole = certify(MONDEQ, BALL, label), certify(MONDEQ, BALL, label, targets="all")
    assert answered.verdict is whole.verdict is Verdict.FALSIFIED
    left = [decision for decision in answered.decisions if decision.verdict is Verdict.UNKNOWN]
    assert all("another label is reached" in decision.reason and decision.bound is None for decision in left)
    decided = [decision for decision in whole.decisions if decision.verdict is not Verdict.UNKNOWN]
    assert len(decided) == len(whole.decisions) == MONDEQ.classes - 1
    with pytest.raises(InputError, match="write a list of labels, or 'all'"):
        certify(MONDEQ, BALL, 0, targets="some")


@pytest.mark.parametrize("network", [RELU, MONDEQ], ids=["layers", "mondeq"])
def test_an_attack_that_finds_nothing_proves_nothing(network):
    """Each label is unknown with the margin that was reached, and there is no file."""
    report = attack(network, BALL, int(network.predict(BALL.center)))
    assert (report.verdict, report.attack) == (Verdict.UNKNOWN, None)
    assert all(d.nominal_margin <= d.attack_margin < 0 and "proves nothing" in d.reason for d in report.decisions)
    assert "bound" not in report.table()[0]
    with pytest.raises(InputError, match="certificate"):
        report.certificates()
