"""A sweep over MNIST that is killed three times: `python -m tests.benchmarks.sweep --images 10000`.

Images of MNIST's test set, the published monDEQ (L-infinity 0.01, the ball as it is), case by case on two processes, as
`tightrope run --jobs 2` solves Table 2. Once undisturbed; then again with the command killed (SIGKILL) when a quarter,
a half and three quarters of the rows are there, and started again each time. Measured: seconds, memory over time, rows
solved twice, and whether both runs leave the same rows, times aside. The same with as many cases that cost nothing
(`--empty 10000`): what the machinery itself takes. The figures go to sweep.json beside this file.
"""

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

import tightrope
from tightrope.results.chen2021_mondeq.certified_ratio import table_2
from tightrope.workbench import workers
from tightrope.workbench.certificates import FOLDER_VARIABLE
from tightrope.workbench.records import Store, sort_rows

FILE = Path(__file__).with_suffix(".json")
JOBS = 2
KILLS = (0.25, 0.5, 0.75)
EVERY = 1.0  # seconds between two looks
MIB = 2**20


def cases(images: int) -> list[dict]:
    """One case for each image."""
    parameters = dict(network="chen2021-mondeq/mnist-87", epsilons_l2=[], epsilons_linf=[0.01], method="cascade")
    every = table_2.own_cases("custom", {**parameters, "images": images, "seed": 0})
    return [case for case in every if not case["clip"]]


def nothing(case: Mapping) -> dict:
    """An outcome at no cost, as long as a usual one."""
    return {"labels": [{"label": k, "bound": case["image"] / 7, "verdict": "certified"} for k in range(9)]}


def solve(folder: Path, images: int, empty: bool) -> None:
    """Solve what has no row, as `tightrope run --jobs` does."""
    os.environ[FOLDER_VARIABLE] = str(folder / "certificates")
    tasks = [workers.Task(case, nothing if empty else table_2.solver) for case in cases(images)]
    with Store(folder / "records.sqlite") as store, workers.local_workers(JOBS) as client:
        left = set(map(id, store.missing([task.case for task in tasks])))
        failures = workers.solve(client, [task for task in tasks if id(task.case) in left], store.put)
    if failures:
        sys.exit(failures[0].reason)


def count(folder: Path) -> int:
    """How many rows there are, whoever writes."""
    path = folder / "records.sqlite"
    if not path.is_file():
        return 0
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute("select count(*) from rows").fetchone()[0]
    return 0


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and what it started."""
    with suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return []


def memory(process: psutil.Process) -> tuple[float, float]:
    """MiB of the command, and of the largest process that it started."""
    sizes = []
    for one in family(process):
        with suppress(psutil.Error):
            sizes.append(one.memory_info().rss / MIB)
    return (sizes[0], max(sizes[1:], default=0.0)) if sizes else (0.0, 0.0)


def watched(folder: Path, images: int, empty: bool, stop_at: int | None) -> list[tuple[float, int, float, float]]:
    """Run the command until it ends, or is killed at so many rows; (seconds, rows, MiB, MiB of a worker) over time."""
    command = [sys.executable, "-m", "tests.benchmarks.sweep", "--solve", str(folder), "--images", str(images)]
    running = subprocess.Popen([*command, *(["--nothing"] if empty else [])], stderr=subprocess.PIPE, text=True)
    process, began, seen = psutil.Process(running.pid), time.monotonic(), []
    while running.poll() is None:
        rows = count(folder)
        seen.append((time.monotonic() - began, rows, *memory(process)))
        if stop_at is not None and rows >= stop_at:
            started = family(process)
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            _, left = psutil.wait_procs(started[1:], timeout=60)
            if left:
                sys.exit(f"{len(left)} processes outlive the command that started them")
            return seen
        time.sleep(EVERY)
    if running.returncode:
        sys.exit(f"the sweep ended with {running.returncode}: {running.stderr.read()}")
    whole = [look for look in seen if look[1] < images] or seen[:1]  # without the end, when processes leave
    return [*whole, (time.monotonic() - began, count(folder), *whole[-1][2:])]


def timeless(value: object) -> object:
    """A row without what differs from run to run."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not k.startswith("seconds") and k != "created"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def rows(folder: Path) -> list[dict]:
    """All rows, by case."""
    with Store(folder / "records.sqlite") as store:
        return sort_rows(store.rows(table_2.name, "custom"))


def growth(seen: list, column: int) -> float:
    """MiB for 1,000 rows in the second half of a run."""
    later = [look for look in seen if look[1] >= seen[-1][1] / 2]
    return float(np.polyfit([look[1] for look in later], [look[column] for look in later], 1)[0] * 1000)


def measure(images: int, empty: bool) -> dict:
    """Both runs of a size."""
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        seen = watched(whole, images, empty, None)
        seconds, kept = [], []
        for share in (*KILLS, None):
            stop = None if share is None else max(1, int(share * images))
            part = watched(broken, images, empty, stop)
            seconds.append(round(part[-1][0], 1))
            kept.append({row["key"]: row for row in rows(broken)})
        first, second = rows(whole), rows(broken)
        tenths = [seen[int(i * (len(seen) - 1) / 10)] for i in range(11)]
        return {
            "images": images,
            "rows": len(first),
            "rows_when_killed": [len(some) for some in kept[:-1]],
            "rows_kept_as_they_were": all(kept[-1][key] == row for some in kept for key, row in some.items()),
            "same_rows": [*map(timeless, first)] == [*map(timeless, second)],
            "certified": sum(row.get("robustness") == "certified" for row in first),
            "seconds_undisturbed": round(seen[-1][0], 1),
            "seconds_of_parts": seconds,
            "rows_over_time": [look[1] for look in tenths],
            "command_mib_over_time": [round(look[2]) for look in tenths],
            "worker_mib_over_time": [round(look[3]) for look in tenths],
            "command_mib_per_1000_rows": round(growth(seen, 2), 2),
            "worker_mib_per_1000_rows": round(growth(seen, 3), 2),
        }


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200, help="test images, from the first on (default: %(default)s)")
    parser.add_argument("--empty", type=int, default=0, help="cases that cost nothing, beside them (default: none)")
    parser.add_argument("--solve", type=Path, help=argparse.SUPPRESS)  # a run that is watched
    parser.add_argument("--nothing", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.solve is not None:
        solve(asked.solve, asked.images, asked.nothing)
        return
    found = json.loads(FILE.read_text()) if FILE.is_file() else {}
    made = {
        "version": tightrope.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
    }
    for name, images, empty in (("mnist", asked.images, False), ("empty", asked.empty, True)):
        if images:
            found[name] = measure(images, empty) | made
            FILE.write_text(json.dumps(found, indent=1) + "\n")
            print(json.dumps({name: found[name]}, indent=1))


if __name__ == "__main__":
    main()
