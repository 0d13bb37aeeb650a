"""The runner of `make peers`, with verifiers that are missing, crash, hang, or answer what is not so."""

import json
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from tests.benchmarks import peers
from tightrope import paths
from tightrope.networks import FeedForward
from tightrope.report import contents

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tightrope[onnx]'")

#: What a verifier does, called with its name, and the files, the time and the folder of clones.
SIDE = """
import sys, time
from pathlib import Path
name, network, question, results = sys.argv[1:5]
assert Path(question).read_text().startswith("(declare-const X_0 Real)")
points = {"right": "0.9", "rounds": "1.0000001", "outside": "1.1", "elsewhere": "0.1", "no point": ""}
if name == "crashes":
    sys.exit("its library is not there")
while name == "hangs":
    time.sleep(1)
bytearray(600 * 2**20 if name == "grows" else 0)
time.sleep(name == "grows")
Path(results).write_text("unsat" if name == "denies" else f"sat\\n((X_0  {points[name]})\\n(Y_0  1))")
"""
NETWORK = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0]]), ([0.0, 0.0], [0.0]))  # |x|
PROPERTY = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (<= X_0 1.0))\n(assert (>= X_0 -1.0))\n"
WRONG = ("outside", "elsewhere", "no point", "denies")
FAILED = {"crashes": "exit 1: its library is not there", "grows": "exit memory: ", "hangs": "exit clock: "}
ANSWERS = {
    "right": {"answer": "sat", "holds": True, "cpu": 0.1, "clock": 0.1, "mib": 1},
    "crashes": {"answer": "failed", "why": "", "cpu": 0.1, "clock": 0.1, "mib": 1},
}


@contextmanager
def asked(folder, names, *options):
    """A run of these verifiers is ready, in a folder."""
    onnx.save(peers.as_onnx(NETWORK), folder / "abs.onnx")
    (folder / "abs.vnnlib").write_text(PROPERTY + "(assert (>= Y_0 0.5))\n")
    (folder / "expected.csv").write_text("network,property,expected\nabs.onnx,abs.vnnlib,sat\n")
    (folder / "side.py").write_text(SIDE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "PEERS", tuple(peers.Peer(name) if isinstance(name, str) else name for name in names))
        patch.setattr(peers, "SIDE", folder / "side.py")
        patch.setattr(peers, "FILE", folder / "peers.json")
        patch.setattr(peers, "OWN", ())
        patch.setattr(peers, "CLOCK", 2)
        patch.setattr(peers, "MEMORY", 300)
        patch.setenv(peers.CLONES, str(folder))
        patch.setattr(sys, "argv", ["peers", str(folder), "--cache", str(folder / "cache"), "--limit", "1", *options])
        yield patch


def read(folder):
    return json.loads((folder / "peers.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What is in the file after a run, and the table that is made of it."""
    folder = tmp_path_factory.mktemp("peers")
    with asked(folder, ("right", "rounds", *WRONG, *FAILED, peers.Peer("missing", "{clones}/nowhere"))):
        peers.main()
    return read(folder), contents.peers(folder / "peers.json")


def test_a_peer_that_does_not_install_is_skipped_by_name_with_the_reason(found):
    given, table = found
    assert list(given["skipped"]) == list(table.skipped) == ["missing"]
    assert "nowhere" in table.skipped["missing"]
    assert "missing" not in [name for name, *_ in table.rows]


def test_answers_are_checked_on_the_file(found):
    """A point may be outside the box by rounding, and not by more; unsat is wrong where a point was accepted."""
    given, table = found
    (row,) = given["instances"].values()
    assert all(row[name]["holds"] for name in ("right", "rounds"))
    assert not any(row[name]["holds"] for name in ("outside", "elsewhere", "no point"))
    by_name = {name: dict(zip(table.head[1:], numbers, strict=True)) for name, *numbers in table.rows}
    for word, names in {"solved": {"right", "rounds"}, "wrong": set(WRONG), "failed": set(FAILED)}.items():
        assert {name for name, numbers in by_name.items() if numbers[word] == "1"} == names
        assert {numbers[word] for numbers in by_name.values()} == {"0", "1"}


def test_what_ends_without_an_answer_says_why(found):
    (row,) = found[0]["instances"].values()
    for name, why in FAILED.items():
        assert (row[name]["answer"], row[name]["why"]) == ("failed", why)
    assert row["grows"]["mib"] > 300 > row["right"]["mib"]


def test_a_repository_that_cannot_be_cloned_is_one_line(tmp_path, capsys):
    """Nothing is asked of it, and nobody is asked for a password."""
    away = peers.Peer("away", "{clones}/away", ("nobody/away",))
    with asked(tmp_path, (away,)) as patch:
        patch.setenv("GIT_CONFIG_COUNT", "1")
        patch.setenv("GIT_CONFIG_KEY_0", f"url.{tmp_path}/nowhere/.insteadOf")
        patch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
        peers.main()
    said = [line for line in capsys.readouterr().out.splitlines() if "away" in line]
    assert len(said) == 1 and said[0].startswith("away: skipped, fatal: ")
    assert list(read(tmp_path)["skipped"]) == ["away"]


def test_answers_are_asked_again_where_they_failed_or_the_sources_changed(tmp_path):
    """And no others; a file of another limit is left as it is."""
    names = ("right", "crashes")

    def run(*options):
        with asked(tmp_path, names, *options) as patch:
            calls = []
            patch.setattr(peers, "ask", lambda name, *_: calls.append(name) or ANSWERS[name])
            patch.setattr(peers, "code_fingerprint", lambda: sources)
            peers.main()
        return calls

    sources = "a" * 64
    assert run() == ["right", "crashes"]
    assert run() == ["crashes"]
    sources = "b" * 64
    assert run() == ["right", "crashes"]
    before = read(tmp_path)
    with pytest.raises(SystemExit):
        run("--limit", "2")
    assert read(tmp_path) == before
    assert run("--limit", "2", "--restart") == ["right", "crashes"]
    assert read(tmp_path)["limit"] == 2


def test_the_limit_is_of_the_processor_seconds_of_all_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "CLOCK", 1000)
    children = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    ended, spent = peers.measured([sys.executable, "-c", children], 0.3, tmp_path / "log")
    assert ended == "timeout"
    assert 0.3 < spent["cpu"] < 30


def test_networks_are_written_as_they_are(tmp_path):
    onnx.save(peers.as_onnx(NETWORK), tmp_path / "abs.onnx")
    x = np.array([[-0.75], [0.5]])
    assert np.array_equal(peers.load(tmp_path / "abs.onnx").logits(x), NETWORK.logits(x))


def test_the_pages_say_what_was_measured():
    """The table in CONTRIBUTING.md, and what README.md says of it."""
    measured = contents.peers()
    contributing, readme = (
        (paths.ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "README.md")
    )
    for row in (measured.head, *measured.rows):
        assert f"| {' | '.join(row)} |" in contributing
    said = " ".join(readme.split())
    asked = json.loads(peers.FILE.read_text())["instances"].values()
    known = [row["Tightrope"]["answer"] == row["expected"] for row in asked if row["expected"]]
    solved = {row[0]: row[1] for row in measured.rows}
    assert f"Of {len(known)} instances of VNN-COMP 2022, {sum(known)} are answered within 10 s" in said
    assert (
        f"On {len(asked)} questions, 10 processor seconds each in one thread, it answers {solved['Tightrope']}," in said
    )
    assert f"(alpha-beta-CROWN {solved['alpha-beta-CROWN']}, nnenum {solved['nnenum']};" in said
    assert int(solved["Tightrope"]) == max(map(int, solved.values()))
