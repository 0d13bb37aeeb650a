"""What the checker of certificate files accepts, and what it must refuse; files come from tightrope.proofs."""

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tests.helpers import ball, mondeq
from tightrope import checker, proofs
from tightrope.attacks import Attack
from tightrope.datasets import Normalisation
from tightrope.problems.lipschitz import l2_problem
from tightrope.question import Limits, Question
from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, Zonotope, pixel_ball
from tightrope.semialgebraic import at_most_one
from tightrope.verifiers import lipschitz
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.robustness import certify

PACKAGE = Path(checker.__file__).parent


def regions(seed: int) -> dict[str, object]:
    """One region of each kind that the checker reads, with three inputs."""
    rng = np.random.default_rng(seed)
    found = {
        f"l{q:g}{' clipped' * clip}": ball(seed, 3, q, 0.3, clip) for q in (1, 2, INFINITY) for clip in (False, True)
    }
    centre, G = rng.standard_normal(3), 0.3 * rng.standard_normal((3, 2 + seed % 3))
    image = rng.integers(0, 256, 3) / 255
    found |= {"zonotope": Zonotope(centre, G), "ellipsoid": EllipsoidRegion(centre, G)}
    rows = rng.standard_normal((2 + seed % 2, 3))
    sides = centre - np.array([0.0, 0.4, 0.3]), centre + np.array([0.0, 0.2, 0.3])
    found["polytope"] = Polytope(rows, rows @ centre + 0.05, *(sides if seed % 2 else (centre - 0.3, centre + 0.2)))
    for q in (1, 2, INFINITY):
        found[f"pixels l{q:g}"] = pixel_ball(image, q, 0.05, Normalisation(0.1307, 0.3081), q != 2)
    return found


KINDS = tuple(regions(0))


def margins(seed: int, kind: str) -> tuple[proofs.Proof, dict[str, np.ndarray]]:
    """A file of order 1, and the arrays of its network."""
    network, region = mondeq(seed), regions(seed)[kind]
    label = int(network.predict(region.center))
    report = certify(network, region, label, attack=False, method="interior-point")
    return report.certificates(), proofs.arrays_of(network)[1]


def made(theory: str, seed: int = 0) -> tuple[proofs.Proof, dict[str, np.ndarray]]:
    """A file of each theory."""
    network = mondeq(seed)
    arrays = proofs.arrays_of(network)[1]
    if theory == "mondeq-order-1":
        return margins(seed, "l2 clipped")
    if theory == "mondeq-lipschitz":
        return lipschitz.upper_bound(network, INFINITY).certificates(), arrays
    region = ball(seed, 3, INFINITY, 0.3)
    if theory == "mondeq-ellipsoid":
        return outer_ellipsoid(network, region).certificates(), arrays
    scores = network.logits(region.center)
    worst, best = int(scores.argmin()), int(scores.argmax())
    hit = Attack(region.center, best, float(scores[best] - scores[worst]))
    return proofs.attack(Question(network, region, worst), hit), arrays


THEORIES = ("mondeq-order-1", "mondeq-lipschitz", "mondeq-ellipsoid", "mondeq-point")


def proven(certificate: checker.Certificate, arrays: dict[str, np.ndarray]) -> bool:
    """Whether every claim of it is."""
    findings = checker.check(certificate, arrays)
    return bool(findings) and all(finding.proven for finding in findings)


# the package ---------------------------------------------------------------------------------------------------


def test_the_package_imports_numpy_flint_and_the_standard_library_only():
    known = {*sys.stdlib_module_names, "numpy", "flint", "tightrope"}
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in known, (file.name, name)
                assert not name.startswith("tightrope") or name.startswith("tightrope.checker"), (file.name, name)
            outer = isinstance(node, ast.ImportFrom) and node.module == "tightrope"
            assert not outer, file.name


def test_running_it_loads_nothing_else_of_the_library(tmp_path):
    proof, arrays = made("mondeq-order-1")
    proof.save(tmp_path / "a.cert")
    np.savez(tmp_path / "network.npz", **arrays)
    code = (
        "import sys; from tightrope.checker.__main__ import main\n"
        f"code = main([{str(tmp_path / 'a.cert')!r}, '--network', {str(tmp_path / 'network.npz')!r}])\n"
        "own = {m for m in sys.modules if m.startswith('tightrope.')}\n"
        "assert all(m.startswith('tightrope.checker') for m in own), own\n"
        "assert not {'scipy', 'torch'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("PROVEN (exact)") == len(proof.findings)


# accepted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_margins_of_order_1_are_proven_on_every_kind_of_region(kind, seed):
    proof, arrays = margins(seed, kind)
    assert proof.proven, proof.findings
    again = checker.from_bytes(proof.certificate.to_bytes())
    assert proven(again, arrays)
    assert again.to_bytes() == proof.certificate.to_bytes()
    assert ("pixels" in again.arrays) == kind.startswith("pixels")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("norm", [1, 2, INFINITY])
def test_lipschitz_constants_are_proven(seed, norm):
    network = mondeq(seed)
    assert lipschitz.upper_bound(network, norm).certificates().proven
    if norm != 1:
        assert lipschitz.pairwise_bounds(network, norm).certificates().proven


SHAPES = ("l1", "l2 clipped", "linf", "zonotope", "ellipsoid", "polytope")


@pytest.mark.parametrize(("kind", "order"), [*((one, "1") for one in SHAPES), *((one, "1+cuts") for one in SHAPES[:3])])
def test_outer_ellipsoids_and_margins_read_off_are_proven(kind, order):
    network = mondeq(1)
    report = outer_ellipsoid(network, regions(1)[kind], order=order)
    proof, arrays = report.certificates(), proofs.arrays_of(network)[1]
    assert proof.proven
    bound, file = float(report.margins(0)[1]), proof.certificate
    Q = file.arrays["Q"]
    # max a'xi = ||Q^-1 a|| - b'Q^-1 a on the ellipsoid; the multiplier of its inequality is half the norm.
    size = np.linalg.norm(np.linalg.solve(Q, np.eye(3)[1] - np.eye(3)[0]))
    claim = {"label": 0, "target": 1, "bound": f"{bound + 1e-2 * size:.8g}", "multiplier": f"{size / 2:.8g}"}
    assert proven(replace(file, claims=[{"holds": "image"}, claim]), arrays)
    low = claim | {"bound": f"{bound - 1e-2 * size:.8g}"}
    assert not checker.check(replace(file, claims=[low]), arrays)[0].proven
    assert not checker.check(replace(file, claims=[claim | {"multiplier": "0"}]), arrays)[0].proven


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("zonotope", "ellipsoid")])
def test_attacks_are_proven(kind):
    network, region = mondeq(3), regions(3)[kind]
    report = certify(network, region, (int(network.predict(region.center)) + 1) % 3)
    assert report.certificate(report.attack.label).proven


@pytest.mark.published
@pytest.mark.parametrize(("norm", "epsilon", "clip"), [("2", 0.1, False), ("inf", 0.01, True)])
def test_margins_of_the_published_network_are_proven_by_pixels(norm, epsilon, clip):
    from tightrope import datasets, zoo

    entry, data = zoo.get("chen2021-mondeq/mnist-87"), datasets.load("mnist")
    region = pixel_ball(data.image(0), norm, epsilon, entry.normalisation, clip)
    report = certify(entry.network, region, data.label(0), targets=[0, 2, 3], attack=False)
    proof = report.certificates()
    assert proof.proven
    file = proof.certificate
    assert (file.arrays["pixels"] == np.round(255 * data.image(0))).all()
    assert file.region["radius"] == str(epsilon)
    single = all(file.arrays[name].dtype == np.float32 for name in ("t", "mu", "nu", "q"))
    assert len(file.to_bytes()) < 3 * (5000 if single else 9000)  # double where a claim is as tight as its multipliers
    assert isinstance(proofs.find_network(file.network), type(entry.network))


# refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theory", THEORIES)
def test_altered_claims_are_refused(theory):
    proof, arrays = made(theory)
    file = proof.certificate
    assert proven(file, arrays)
    for name, array in arrays.items():  # another network
        assert not proven(file, arrays | {name: array + 1e-9})
        assert not proven(file, {other: a for other, a in arrays.items() if other != name})
    assert not proven(replace(file, network="0" * 64), arrays)
    assert not proven(replace(file, claims=[]), arrays)
    for other in (*THEORIES, "", "mondeq"):
        if other != theory:
            assert not proven(replace(file, theory=other), arrays)
    for claim in (*({**file.claims[0], key: value} for key in file.claims[0] for value in (None, 1.5, "x", [], True)),):
        assert not checker.check(replace(file, claims=[claim]), arrays)[0].proven, claim
    for key in file.claims[0]:
        left = {name: value for name, value in file.claims[0].items() if name != key}
        assert not checker.check(replace(file, claims=[left]), arrays)[0].proven
    assert not checker.check(replace(file, claims=[{**file.claims[0], "more": 1}]), arrays)[0].proven
    for key in (*file.region, "more"):
        for value in (None, 7, "", "nan", [1], {}):
            assert not proven(replace(file, region={**file.region, key: value}), arrays), (key, value)
        left = {name: value for name, value in file.region.items() if name != key}
        assert key == "more" or not proven(replace(file, region=left), arrays)
    for name, array in file.arrays.items():
        without = {other: a for other, a in file.arrays.items() if other != name}
        assert not proven(replace(file, arrays=without), arrays), name
        for altered in (array[:-1], array[..., None], np.full_like(array, np.nan), np.full_like(array, -np.inf)):
            assert not proven(replace(file, arrays=file.arrays | {name: altered}), arrays), name
    assert not proven(replace(file, arrays=file.arrays | {"more": np.zeros(1)}), arrays)


@pytest.mark.parametrize("kind", KINDS)
def test_claims_of_other_balls_labels_and_bounds_are_refused(kind):
    proof, arrays = margins(1, kind)
    file = proof.certificate
    for number, claim in enumerate(file.claims):
        rest = {"label": claim["target"], "target": claim["label"]}
        lower = {"bound": str(float(claim["bound"]) - 1e-3)}
        same = {"target": claim["label"]}
        for change in (rest, lower, same, {"target": 3}, {"target": -1}):
            changed = [*file.claims[:number], claim | change, *file.claims[number + 1 :]]
            assert not checker.check(replace(file, claims=changed), arrays)[number].proven, change
    wider = dict(file.region)
    if "radius" in wider:
        wider["radius"] = str(1.2 * float(wider["radius"]))
        assert not proven(replace(file, region=wider), arrays)
    for name in ("mu", "nu", "q", "clip", "rows"):  # a sign that the claim does not allow
        if name in file.arrays and (file.arrays[name] > 0).any():
            assert not proven(replace(file, arrays=file.arrays | {name: -file.arrays[name]}), arrays)
    if "clipped" in kind:
        bare = {name: array for name, array in file.arrays.items() if name not in ("lower", "upper")}
        assert not proven(replace(file, arrays=bare), arrays)
    if kind == "polytope":
        for name, other in (("offsets", 1), ("facets", 0), ("upper", 1)):
            changed = file.arrays | {name: file.arrays[name] * other + other}
            assert not proven(replace(file, arrays=changed), arrays), name
    if kind == "pixels linf":
        assert not proven(replace(file, region=file.region | {"clip": False, "radius": "0.5"}), arrays)
        moved = file.arrays["pixels"] // 2 + 100
        assert not proven(replace(file, arrays=file.arrays | {"pixels": moved}), arrays)


@pytest.mark.parametrize("rows", [np.zeros((0, 3)), np.zeros((2, 3)), np.eye(3)[:1]])
def test_polytopes_whose_rows_cut_nothing_are_boxes(rows):
    network, centre = mondeq(1), np.zeros(3)
    box = Polytope(rows, np.ones(len(rows)), centre - 0.3, centre + 0.3)
    label = int(network.predict(box.center))
    proof = certify(network, box, label, attack=False, method="interior-point").certificates()
    assert proof.proven
    cube = certify(network, Ball(centre, 0.3, INFINITY), label, attack=False, method="interior-point")
    bounds = [float(claim["bound"]) for claim in proof.certificate.claims]
    assert bounds == pytest.approx([decision.bound for decision in cube.decisions], abs=1e-3)


def test_the_bound_of_the_reference_code_is_refused():
    """The authors' ||r|| <= 1 cuts off true points: its value is below the constant, and no multipliers prove it."""
    network = replace(mondeq(0), C=3 * mondeq(0).C)
    problem = l2_problem(network)
    y, v = problem.space["y"], problem.space["v"]
    r = sp.csr_array(network.W.T) @ y + sp.csr_array(network.C.T) @ v
    planted = replace(problem, constraints=(*problem.constraints, at_most_one("|r| <= radius", problem.space, r, r)))
    part = lipschitz.prove(planted, Limits(1e-6))
    rng = np.random.default_rng(0)
    slopes = [np.linalg.norm(network.jacobian(x), 2) for x in rng.standard_normal((50, 3))]
    assert part.value < max(slopes)  # an unsound bound
    proof = proofs.lipschitz(network, 2, [({"bound": part.value}, [part.multipliers])])
    assert not proof.proven and proof.certificate is None


def test_a_point_outside_the_ball_is_refused():
    proof, arrays = made("mondeq-point")
    file = proof.certificate
    edge = file.arrays["centre"] + float(file.region["radius"]) * np.array([[1.0, 0, 0]])
    for point in (edge + 1e-12, edge + 1):
        findings = checker.check(replace(file, arrays=file.arrays | {"point": point}), arrays)
        assert "outside" in findings[0].reason


def test_a_network_that_is_not_monotone_has_no_lipschitz_constant():
    network = mondeq(0)
    proof = lipschitz.upper_bound(network, 2).certificates()
    arrays = proofs.arrays_of(network)[1] | {"W": np.eye(4)}
    file = replace(proof.certificate, network=checker.digest("mondeq", arrays))
    assert "monotone" in checker.check(file, arrays)[0].reason


def test_what_the_checker_cannot_prove_stays_with_its_reason(tmp_path):
    network, region = mondeq(0), ball(0, 3, INFINITY, 0.3)
    report = certify(network, region, int(network.predict(region.center)), attack=False, method="interior-point")
    first, second = (decision.dual for decision in report.decisions)
    first = replace(first, multipliers={name: 0 * y for name, y in first.multipliers.items()})
    proof = proofs.margins(report.question, [first, second])
    assert [finding.proven for finding in proof.findings] == [False, True]
    assert len(proof.certificate.claims) == 1 and proof.findings[0].reason
    ball3 = Ball(region.center, 0.3, 3)
    with pytest.raises(ValueError, match="L3"):
        certify(network, ball3, report.label, attack=False).certificates()
