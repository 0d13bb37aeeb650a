"""Damaged and hostile files: Unreadable or refused, in little time, and nothing false is proven."""

import json
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.references import largest_margin
from tests.helpers import mondeq
from tightrope import checker, gram_proofs, proofs
from tightrope.checker import regions
from tightrope.networks import FeedForward
from tightrope.question import Question
from tightrope.regions import Ball, Polytope
from tightrope.verifiers.distortion import minimum_distortion
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.robustness import certify


def made(theory: str):
    """A small network and a file of it."""
    if theory == "relu-distortion":
        network = FeedForward.dense([[[1.0], [-1.0]], [[1.0, 0.5], [0.0, 1.0]]], [[0.5, 0.1], [0.0, 0.0]])
        return network, minimum_distortion(network, Ball([0.0], 1.0, "inf"), 0, "lp-greedy").certificates()
    network = mondeq(0, p=1 if theory == "mondeq-order-2" else 3, p0=1)
    region = Ball(np.array([0.4]), 0.5, 2, np.array([0.1]), np.array([2.0]))
    if theory == "polytope":
        region = Polytope(np.array([[1.0], [-2.0]]), np.array([0.7, 1.0]), np.array([-1.0]), np.array([1.0]))
    label = int(network.predict(region.center))
    if theory == "mondeq-order-2":
        return network, gram_proofs.margin(Question(network, region, label, [(label + 1) % 3]))
    if theory == "mondeq-lipschitz-local":
        region = replace(region, radius=0.05)
        return network, local_upper_bound(network, region, order="1+cuts").certificates()
    return network, certify(network, region, label, attack=False, method="interior-point").certificates()


FILES = ("mondeq-order-1", "polytope", "mondeq-order-2", "mondeq-lipschitz-local", "relu-distortion")


@pytest.fixture(scope="module", params=FILES)
def file(request):
    """A file of a network with one input, its bytes and its network."""
    network, proof = made(request.param)
    assert proof.certificate.theory in (request.param, "mondeq-order-1")
    return network, proof.certificate.to_bytes()


def outcome(network, content: bytes) -> bool:
    """Whether anything is proven; what is, must be true."""
    began = time.perf_counter()
    try:
        certificate = checker.from_bytes(content)
    except checker.Unreadable:
        return False
    findings = checker.check(certificate, proofs.arrays_of(network)[1])
    assert time.perf_counter() - began < 2
    for finding, claim in zip(findings, certificate.claims, strict=False):
        if finding.proven and certificate.theory in ("mondeq-order-1", "mondeq-order-2"):
            region = regions.read(certificate.region, certificate.arrays)
            most = largest_margin(network, region, claim["label"], claim["target"])
            assert most <= Fraction(claim["bound"]), finding
    return any(finding.proven for finding in findings)


def test_truncated_files_are_unreadable(file):
    _, content = file
    for length in range(len(content)):
        with pytest.raises(checker.Unreadable):
            checker.from_bytes(content[:length])
    with pytest.raises(checker.Unreadable):
        checker.from_bytes(content + b"\0")


def test_a_file_of_several_certificates(file, tmp_path):
    """Each stands alone; a file that ends within one, or goes on with something else, is unreadable as a whole."""
    _, content = file
    path = tmp_path / "two.cert"
    path.write_bytes(content + content)
    assert [one.to_bytes() for one in checker.load(path)] == [content, content]
    assert len(checker.all_from_bytes(content)) == 1
    for damaged in (b"", content + b"\0", content + content[:-1], content[:-1] + content, b"\0" * 8 + content):
        with pytest.raises(checker.Unreadable):
            checker.all_from_bytes(damaged)
    with pytest.raises(checker.Unreadable):
        checker.from_bytes(content + content)


def test_flipped_bits_never_prove_what_is_false(file):
    network, content = file
    assert outcome(network, content)
    rng = np.random.default_rng(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        outcome(network, bytes(changed))


def test_noise_is_unreadable_at_once(file):
    rng = np.random.default_rng(0)
    for length in (0, 1, 7, 8, 9, 100, 2**20):
        noise = rng.bytes(length)
        began = time.perf_counter()
        for content in (noise, len(noise).to_bytes(8, "little") + noise):
            with pytest.raises(checker.Unreadable):
                checker.from_bytes(content)
        assert time.perf_counter() - began < 2


HOSTILE = (
    b"[" * 10**6,
    b'{"a":' * 10**5,
    b"1" * 10**6,
    b'{"format":1e999}',
    b'{"format":NaN}',
    b'{"a":1,"a":2}',
    '{"\ud800":1}'.encode("utf-8", "surrogatepass"),
    b'{"claims":[],"claims":[]}',
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].decode(errors="replace"))
def test_hostile_headers_are_unreadable(text):
    with pytest.raises(checker.Unreadable):
        checker.from_bytes(len(text).to_bytes(8, "little") + text)


def test_hostile_values_are_refused_or_unreadable(file):
    network, content = file
    length = int.from_bytes(content[:8], "little")
    header, block = json.loads(content[8 : 8 + length]), content[8 + length :]
    values = (
        None,
        True,
        -1,
        2**70,
        1.5,
        "",
        "\ud800",
        "²",
        "1e²",
        "1e-999",
        "9" * 60,
        "1e400",
        [],
        {},
        [[]],
        {"sha256": 1},
    )
    keys = [[key] for key in header]
    keys += [["region", key] for key in header["region"]] + [["claims", 0, key] for key in header["claims"][0]]
    keys += [["arrays", key, part] for key in header["arrays"] for part in ("dtype", "shape")] + [["claims", 0]]
    for path in keys:
        for value in (*values, [0], [0, 2**31 - 1, 2**31 - 1, 2**31 - 1], [-1]):
            changed = json.loads(json.dumps(header))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == value:
                continue
            inner[path[-1]] = value
            text = json.dumps(changed).encode()
            outcome(network, len(text).to_bytes(8, "little") + text + block)
    for dtype in checker.file.DTYPES:  # an array without content
        changed = json.loads(json.dumps(header))
        changed["arrays"] = {"t": {"dtype": dtype, "shape": [0, 2**31 - 1]}}
        text = json.dumps(changed).encode()
        assert not outcome(network, len(text).to_bytes(8, "little") + text)
