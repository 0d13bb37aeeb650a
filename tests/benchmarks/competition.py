"""Instances of the verification competition: `python -m tests.benchmarks.competition FOLDER [--time-limit 25]`.

FOLDER holds networks, properties and `expected.csv` (network, property, expected: what most tools of VNN-COMP 2021 to
2025 say). Each property is asked with the time limit, in seconds of processor time of one thread, and every
counterexample is checked on the file's own fractions (`tightrope.verifiers.properties`). The answers beside the
expected ones go to competition.json beside this file, and on the way after each instance; those there are not asked
again with the same limit.
"""

import argparse
import csv
import json
import platform
import time
from collections import Counter
from pathlib import Path

import tightrope
from tightrope.networks import load
from tightrope.properties import read_vnnlib
from tightrope.question import Limits
from tightrope.threads import one_torch_thread
from tightrope.verifiers.properties import certify_property, competition_text

FILE = Path(__file__).with_suffix(".json")


def answer(folder: Path, network: str, file: str, limit: float) -> dict:
    """Ask one property; seconds are processor time, reading not included."""
    asked, question = load(folder / network), read_vnnlib(folder / file)
    began = time.process_time()
    report = certify_property(asked, question, Limits(time=limit))
    said = competition_text(report).split("\n", 1)[0]
    return {"answer": said, "seconds": round(time.process_time() - began, 2), "reason": report.reason}


def main() -> None:
    """Ask every instance and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--time-limit", type=float, default=25.0)
    parser.add_argument("--only", default="", help="instances whose name contains this")
    options = parser.parse_args()
    known = json.loads(FILE.read_text())["instances"] if FILE.exists() else {}
    with (options.folder / "expected.csv").open() as stream:
        instances = [row for row in csv.DictReader(stream) if options.only in row["network"] + row["property"]]
    limits = {"time_limit": options.time_limit, "version": tightrope.__version__}
    with one_torch_thread():
        for row in instances:
            name = f"{row['network']} {row['property']}"
            if not limits.items() <= known.get(name, {}).items():
                own = answer(options.folder, row["network"], row["property"], options.time_limit)
                known[name] = {"expected": row["expected"], **own, **limits}
                found = {"machine": f"{platform.machine()}, one thread", "summary": summary(known), "instances": known}
                FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            print(name, *(known[name][key] for key in ("expected", "answer", "seconds", "reason")), flush=True)
    print(json.dumps(summary(known), indent=1))


def summary(known: dict[str, dict]) -> dict[str, dict]:
    """Count by folder how many instances are answered as expected, otherwise, or left open."""
    counts: dict[str, Counter] = {}
    for name, own in known.items():
        decided = own["answer"] in ("sat", "unsat")
        word = ("as expected" if own["answer"] == own["expected"] else "WRONG") if decided else "open"
        counts.setdefault(name.split("/")[0], Counter())[word] += 1
    return {folder: dict(count) for folder, count in counts.items()}


if __name__ == "__main__":
    main()
