"""The soundness bed: `make soundness`, or `python -m tests.soundness --seconds N --seed S`.

Every method of the library answers random small questions whose exact answer is known; the counts go to
data/soundness.json. A run continues where the last one with its seed ended; runs of several seeds may go on at once and
share the file. A wrong comparison is one line, which is also the command that repeats its case:
`python -m tests.soundness --seed S --case K`.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import tightrope
from tests.soundness.bed import Bed
from tests.soundness.run import run_case
from tightrope import paths

FILE = paths.DATA / "soundness.json"
#: Seconds between two looks of the file.
EVERY = 30.0
#: What two counts of one run have in common.
SAME = ("seed", "first", "versions")


def versions() -> dict[str, str]:
    """What the counts depend on: this bed, the library and what it computes with."""
    names = ("numpy", "scipy", "torch", "highspy", "clarabel", "python-flint")
    own = {"bed": _digest(Path(__file__).parent), "library": _digest(Path(tightrope.__file__).parent)}
    own |= {"tightrope": tightrope.__version__, "python": platform.python_version()}
    return own | {name: version(name) for name in names}


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.relative_to(folder).as_posix().encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:12]


def load(file: Path) -> list[dict]:
    """The runs so far."""
    return json.loads(file.read_text())["runs"] if file.is_file() else []


def save(file: Path, own: dict) -> None:
    """Write what a run has done so far among the others in the file, which other processes write too; totals first.

    Of two runs of the same cases the longer one is kept.
    """
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        runs = load(file)
        same = [i for i, run in enumerate(runs) if all(run[name] == own[name] for name in SAME)]
        if not same:
            runs.append(own)
        elif runs[same[0]]["end"] <= own["end"]:
            runs[same[0]] = own
        total = {
            "comparisons": sum(sum(run["comparisons"].values()) for run in runs),
            "wrong": sum(len(run["wrong"]) for run in runs),
            "cases": sum(run["end"] - run["first"] for run in runs),
        }
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"total": total, "runs": runs}, indent=1) + "\n")
        part.replace(file)
    finally:
        os.close(folder)


def entry(runs: list[dict], seed: int) -> dict:
    """The run of this seed that is continued, or a new one after those with other versions."""
    own = [run for run in runs if run["seed"] == seed]
    first = max((run["end"] for run in own), default=0)
    for run in own:
        if run["versions"] == versions() and run["end"] == first:
            return run
    new = {"seed": seed, "first": first, "end": first, "seconds": 0.0, "date": "", "versions": versions()}
    return new | {"comparisons": {}, "refused": {}, "wrong": []}


def run(seconds: float, seed: int, file: Path = FILE, most: int | None = None) -> int:
    """Go on for some time; return how many comparisons of this run were wrong.

    A case counts as a whole or not at all, so that the counts of a seed are those of its first cases, however often it
    was interrupted. Runs of other seeds may write to the same file meanwhile.
    """
    own = entry(load(file), seed)
    began = saved = time.monotonic()
    spent, done, wrong = own["seconds"], 0, 0
    try:
        while time.monotonic() - began < seconds and (most is None or done < most):
            bed = run_case(seed, own["end"])
            for name in ("comparisons", "refused"):
                counts = Counter(own[name]) + Counter(getattr(bed, name))
                own[name] = dict(sorted(counts.items()))
            for line in bed.wrong:
                print(line, flush=True)
            own["wrong"] += bed.wrong
            wrong += len(bed.wrong)
            own["end"] += 1
            done += 1
            now = time.monotonic()
            own["seconds"] = round(spent + now - began, 1)
            own["date"] = datetime.now(UTC).date().isoformat()
            if now - saved > EVERY:
                save(file, own)
                saved = now
    except KeyboardInterrupt:
        print("Stopped; the same command continues.", file=sys.stderr)
    if own["end"] > own["first"]:
        save(file, own)
    print(
        f"seed {seed}: cases {own['first']} to {own['end'] - 1}, {sum(own['comparisons'].values())} comparisons, "
        f"{len(own['wrong'])} wrong"
    )
    return wrong


def main() -> int:
    """Read the arguments; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soundness", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random cases (default: %(default)s)")
    parser.add_argument("--case", type=int, help="this case only; nothing is written")
    parser.add_argument("--file", type=Path, default=FILE, help="where counts go (default: data/soundness.json)")
    asked = parser.parse_args()
    if asked.case is None:
        return int(run(asked.seconds, asked.seed, asked.file) > 0)
    bed: Bed = run_case(asked.seed, asked.case)
    print("\n".join(bed.wrong) or f"{sum(bed.comparisons.values())} comparisons, 0 wrong")
    return int(bool(bed.wrong))


if __name__ == "__main__":
    sys.exit(main())
