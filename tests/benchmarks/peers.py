"""Tightrope among other verifiers, on the same files with the same limit: `make peers`.

FOLDER holds networks, properties and `expected.csv` (network, property, expected: what most tools of VNN-COMP 2021 to
2025 say); images of the papers' feed-forward networks are added (:data:`OWN`; no other verifier reads a monDEQ). Each
peer has a virtual environment in the cache folder, and its repository there or in the folder that TIGHTROPE_PEERS
names; one that does not install is skipped by name. Each question is a process of its own, ended when its tree has used
the limit's processor seconds beyond those of the peer's start (its first question), or too much memory or clock time.

Every counterexample is moved into the file's box if it is at most :data:`NEAR` outside, and then checked on the file's
own fractions. WRONG is a sat whose point does not hold, or an unsat where any peer's point holds. The answers go to
peers.json beside this file, after each question; what is there is not asked again with the same versions, among which
the sources of our library are, unless it failed. Another limit than the file's is refused without --restart.
"""

import argparse
import csv
import gzip
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import psutil

import tightrope
from tightrope import datasets, zoo
from tightrope.networks import FeedForward, load
from tightrope.properties import Property, read_vnnlib
from tightrope.question import Limits
from tightrope.regions import pixel_ball
from tightrope.report import contents
from tightrope.verifiers.properties import _Search
from tightrope.workbench.records import code_fingerprint

FILE, SIDE = Path(__file__).with_suffix(".json"), Path(__file__).with_name("peer_side.py")
CACHE, CLONES = datasets.cache_folder() / "peers", "TIGHTROPE_PEERS"
#: The clock may run this many times as long as the limit; MiB of a process tree; where a point is moved into the box.
CLOCK, MEMORY, NEAR = 12, 6144, 1e-6
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
CROWN = ("Verified-Intelligence/alpha-beta-CROWN", "Verified-Intelligence/auto_LiRPA")
TORCH = (
    "torch==2.13.0 onnx onnxruntime onnx2pytorch onnxoptimizer skl2onnx packaging tqdm graphviz appdirs termcolor"
    " psutil pyyaml sortedcontainers pandas gurobipy"
)
#: Networks and radii in pixel units; of the first images those whose label is the network's class.
OWN = (
    ("salman2019-barrier/adv-mlp-b-0.1", 0.1),
    ("salman2019-barrier/lpd-mlp-b-0.1", 0.1),
    ("salman2019-barrier/nor-mlp-b", 0.03),
    ("jovanovic2022-paradox/fc-crown-ibp", 0.1),
    ("chen2020-lipschitz/sdp-nn", 0.1),
)
IMAGES = 2


class Skipped(Exception):
    """A peer that cannot be asked on this machine, and why."""


@dataclass(frozen=True)
class Peer:
    """What pip installs in an environment of its own (nothing: the project's), and repositories on GitHub."""

    name: str
    requirements: str = ""
    clones: tuple[str, ...] = ()
    environment: str = ""  # its folder, by default the name

    def installed(self, cache: Path) -> tuple[list[str], str]:
        """Return the start of the command, and what versions it runs; Skipped if something does not install."""
        if not self.requirements:
            own = f"{tightrope.__version__}, sources {code_fingerprint()[:12]}"
            versions = [f"{name} {version(name)}" for name in ("numpy", "torch", "highspy")]
            return [sys.executable, "-W", "ignore", str(SIDE), self.name], ", ".join([own, *versions])
        folder, python = (cache / "environments" / (self.environment or self.name) / end for end in ("", "bin/python"))
        versions = []
        for clone in self.clones:
            source = clones(cache) / clone.split("/")[1]
            if not source.is_dir():
                _run("git", "clone", "--quiet", "--depth", "1", f"https://github.com/{clone}", source)
            known = (source / ".git").exists()
            versions.append(f"{source.name} {_run('git', '-C', source, 'log', '-1', '--format=%h') if known else '?'}")
        wanted, stamp = self.requirements.format(clones=clones(cache)), folder / "installed"
        if not stamp.is_file() or stamp.read_text() != wanted:
            _run(sys.executable, "-m", "venv", folder)
            _run(python, "-m", "pip", "install", "--quiet", *wanted.split())
            stamp.write_text(wanted)
        first = wanted.split()[0].split("/")[-1].split("=")[0]
        look = f"from importlib.metadata import version; print({first!r}, version({first!r}))"
        return [str(python), "-W", "ignore", str(SIDE), self.name], ", ".join([_run(python, "-c", look), *versions])


PEERS = (
    Peer("Tightrope"),
    Peer("HiGHS"),
    Peer("Marabou", "maraboupy==2.0.0 onnx onnxruntime numpy<2"),
    Peer("nnenum", "{clones}/nnenum", ("stanleybak/nnenum",)),
    Peer("alpha-beta-CROWN", TORCH, CROWN, "crown"),
    Peer("auto_LiRPA", TORCH, CROWN, "crown"),
)


def clones(cache: Path) -> Path:
    """Return the folder of the peers' repositories."""
    return Path(os.environ.get(CLONES) or cache)


def _run(*command: str | Path) -> str:
    """Return what a command prints; Skipped with its error if it fails, or would ask for a password."""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=3600, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Skipped(str(error)) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{command} failed"]
        raise Skipped(next((line for line in lines if line.lower().startswith(("error", "fatal"))), lines[-1]))
    return done.stdout.strip()


def measured(command: list[str], limit: float, log: Path) -> tuple[int | str, dict[str, float]]:
    """Run a command; its exit code or what ended it, and processor seconds, clock seconds and MiB of its tree."""
    before, began, cpu, peak, ended = _reaped(), time.monotonic(), 0.0, 0.0, None
    with log.open("w") as stream:
        env = {**os.environ, **ONE_THREAD}
        process = psutil.Popen(command, stdout=stream, stderr=stream, env=env, cwd=log.parent, start_new_session=True)
    try:
        while process.poll() is None and ended is None:
            try:
                tree = [process, *process.children(recursive=True)]
                cpu = max(cpu, sum(sum(one.cpu_times()[:4]) for one in tree))
                peak = max(peak, sum(one.memory_info().rss for one in tree) / 2**20)
            except psutil.Error:
                pass  # one ended meanwhile
            ended = "timeout" if cpu > limit else "memory" if peak > MEMORY else None
            if time.monotonic() - began > CLOCK * limit:
                ended = ended or "clock"
            time.sleep(0.05)
    finally:  # at Ctrl-C too
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    spent = {"cpu": round(max(cpu, _reaped() - before), 2), "clock": round(time.monotonic() - began, 2)}
    return ended or code, spent | {"mib": round(peak)}


def _reaped() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def holds(network, question: Property, text: str) -> bool:
    """Whether the point of a sat answer is a counterexample, exactly, when moved into the box by rounding."""
    given = {int(i): float(Fraction(value)) for i, value in re.findall(r"\(\s*X_(\d+)\s+([-+.\deE]+)\s*\)", text)}
    if sorted(given) != list(range(question.inputs)):
        return False
    point, search = np.array([given[i] for i in range(question.inputs)]), _Search(network, question, Limits())
    for number, case in enumerate(question.cases):
        low, high = (np.array([float(bound[side]) for bound in case.box]) for side in (0, 1))
        near = (np.maximum(low - point, point - high) <= NEAR * (1 + np.abs(point))).all()
        if near and search.looked(number, point[None]):
            return True
    return False


def ask(name: str, command: list[str], network: Path, question: Path, limit: float, more: float, where: Path) -> dict:
    """Return a peer's answer to a question, checked, and what it cost; `more` seconds are allowed for its start."""
    with tempfile.TemporaryDirectory() as scratch:
        plain, results, log = (Path(scratch) / end for end in ("asked.vnnlib", "results", "log"))
        content = question.read_bytes()
        plain.write_bytes(gzip.decompress(content) if question.suffix == ".gz" else content)
        asked = [*command, str(network), str(plain), str(results), str(CLOCK * limit), str(where)]
        if name == "Tightrope":  # by its own command
            asked = [sys.executable, "-m", "tightrope.cli", "vnnlib", *asked[-5:-2], "--time-limit", str(limit)]
        ended, spent = measured(asked, limit + more, log)
        text = results.read_text() if results.is_file() else ""
        answer = (text.split() or ["timeout" if ended == "timeout" else "failed"])[0]
        if answer == "sat":
            return {"answer": answer, **spent, "holds": holds(load(network), read_vnnlib(plain), text)}
        if answer == "failed":
            spent["why"] = f"exit {ended}: {(log.read_text().strip().splitlines() or [''])[-1][:200]}"
        return {"answer": answer, **spent}


def as_onnx(network: FeedForward):
    """Return a ReLU network as an ONNX model of dense layers, in float32."""
    import onnx

    h, nodes, weights, last = onnx.helper, [], [], "X"
    for i, layer in enumerate(network.layers):
        parts = dict(zip((f"W{i}", f"b{i}"), layer.dense(), strict=True))
        weights += [onnx.numpy_helper.from_array(np.float32(part), name) for name, part in parts.items()]
        final = i == len(network.layers) - 1
        nodes.append(h.make_node("Gemm", [last, *parts], ["Y" if final else f"z{i}"], transB=1))
        if not final:
            nodes.append(h.make_node("Relu", [f"z{i}"], [last := f"a{i}"]))
    sizes = {"X": network.input_size, "Y": network.classes}
    ends = [[h.make_tensor_value_info(name, 1, [1, size])] for name, size in sizes.items()]
    graph = h.make_graph(nodes, "network", *ends, weights)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)


def own_files(folder: Path) -> Iterator[dict]:
    """Write images of the papers' networks as ONNX and VNN-LIB files; the rows that name them."""
    import onnx

    for name, epsilon in OWN:
        data, entry, stem = datasets.load("mnist"), zoo.get(name), name.replace("/", "-")
        network, K = entry.network, entry.network.classes
        onnx.save(as_onnx(network), folder / f"{stem}.onnx")
        right = (i for i in range(100) if network.predict(data.image(i).ravel()) == data.label(i))
        for i in islice(right, IMAGES):
            lower, upper = pixel_ball(data.image(i), "inf", epsilon, entry.normalisation, True).bounding_box()
            lines = [f"(declare-const X_{j} Real)" for j in range(len(lower))]
            lines += [f"(declare-const Y_{k} Real)" for k in range(K)]
            for j, (low, high) in enumerate(zip(lower, upper, strict=True)):
                lines += [f"(assert (<= X_{j} {high:.17f}))", f"(assert (>= X_{j} {low:.17f}))"]
            others = (f"    (and (>= Y_{k} Y_{data.label(i)}))" for k in range(K) if k != data.label(i))
            (folder / f"{stem}-{i}.vnnlib").write_text("\n".join([*lines, "(assert (or", *others, "))"]) + "\n")
            yield {"network": f"{stem}.onnx", "property": f"{stem}-{i}.vnnlib", "expected": "", "folder": folder}


def questions(folder: Path, cache: Path, only: list[str]) -> list[dict]:
    """Return the rows of expected.csv, the smallest networks first, and of the papers' networks, with the folder."""
    rows = []
    if (folder / "expected.csv").is_file():
        with (folder / "expected.csv").open() as stream:
            rows = [{**row, "folder": folder} for row in csv.DictReader(stream)]
    else:
        print(f"{folder} holds no expected.csv: only the papers' networks are asked")
    rows = sorted(rows, key=lambda row: not row["network"].startswith("test/")) + list(own_files(cache))
    return [row for word in only for row in rows if word in f"{row['network']} {row['property']}"]


def main() -> None:
    """Ask every peer every question and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=datasets.cache_folder() / "vnncomp")
    parser.add_argument("--limit", type=float, help="processor seconds a question; by default the file's, at first 25")
    parser.add_argument("--restart", action="store_true", help="begin anew: what is in peers.json is lost")
    parser.add_argument("--peers", default="", help="names, separated by commas; by default all")
    parser.add_argument("--only", default="", help="parts of the instances' names, separated by commas, in their order")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--note", default="", help="about the machine, for the file")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    found = json.loads(FILE.read_text()) if FILE.exists() and not options.restart else {}
    options.limit = options.limit or found.get("limit", 25.0)
    if found.setdefault("limit", options.limit) != options.limit:
        kept = f"{FILE.name} holds answers with a limit of {found['limit']:g} s"
        parser.error(f"{kept}; give --limit {found['limit']:g} to go on, or --restart to lose them")
    found = {"versions": {}, "skipped": {}, "starts": {}, "instances": {}} | found
    found["machine"] = f"{platform.machine()}, one thread{options.note and '; ' + options.note}"
    commands = {}
    for peer in PEERS:
        try:
            if not options.peers or peer.name in options.peers.split(","):
                commands[peer.name], found["versions"][peer.name] = peer.installed(options.cache)
                found["skipped"].pop(peer.name, None)
        except Skipped as why:
            print(f"{peer.name}: skipped, {why}")
            if peer.name not in found["versions"]:  # what it answered before remains
                found["skipped"][peer.name] = str(why)
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for row in questions(options.folder, options.cache, options.only.split(",")):
        paths = [row["folder"] / row[key] for key in ("network", "property")]
        asked = found["instances"].setdefault(f"{row['network']} {row['property']}", {"expected": row["expected"]})
        for name, command in commands.items():
            known = asked.get(name, {})
            if known.get("version") != found["versions"][name] or known["answer"] == "failed":
                more = found["starts"].get(name, CLOCK * options.limit)
                own = ask(name, command, *paths, options.limit, more, clones(options.cache))
                found["starts"].setdefault(name, own["cpu"])  # the first question is the smallest
                asked[name] = {**own, "version": found["versions"][name]}
                FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            print(row["network"], row["property"], name, asked[name], flush=True)
    measured_by_all = contents.peers(FILE)
    for line in (measured_by_all.head, ["---"] * len(measured_by_all.head), *measured_by_all.rows):
        print(f"| {' | '.join(line)} |")
    print(measured_by_all.about)


if __name__ == "__main__":
    main()
