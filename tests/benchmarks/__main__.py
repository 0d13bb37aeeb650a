"""Benchmarks as ratios, side by side in one run: `make bench`, or `python -m tests.benchmarks [NAME ...]`.

Each benchmark solves the same problem by ours and by the best free alternative, prints both, and adds its row to
data/results/benchmarks.json. No number here is asserted anywhere.
"""

import argparse
import json
import platform
import resource
import time
from datetime import UTC, datetime
from unittest.mock import patch

import numpy as np

import tightrope
from tests.helpers import mondeq
from tightrope import datasets, zoo
from tightrope.networks.random import random_network
from tightrope.paths import RESULTS
from tightrope.problems.robustness import robustness_model
from tightrope.question import Verdict
from tightrope.regions import Ball, pixel_ball
from tightrope.relaxations.shor import MomentProgram, objective_matrix, shor_constraints
from tightrope.solvers import conic, schur
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.robustness import certify
from .phases import trees
from .relu import auto_lirpa, exact, lp_all

PUBLISHED = "chen2021-mondeq/mnist-87"


def problem(name: str, index: int, norm: str, epsilon_pixel: float, clip: bool = False):
    """Model and data of one image of a named network."""
    entry = zoo.get(name)
    data = datasets.load(entry.dataset)
    region = pixel_ball(data.image(index), norm, epsilon_pixel, data.normalisation, clip)
    model = robustness_model(entry.network, region, int(entry.network.predict(region.center)))
    return model, ArrowData(shor_constraints(model))


def one_sdp() -> dict:
    """The 872-dimensional SDP (image 0, label 0 against 7, L-infinity 0.05): ours to 1e-5 against SCS for 120 s."""
    model, data = problem(PUBLISHED, 0, "inf", 0.05)
    objective = objective_matrix(model.problem(0).objective)
    began = time.perf_counter()
    solver = InteriorPoint(data)
    ours, _ = solver.solve(objective, tolerance=1e-5)
    our_seconds = time.perf_counter() - began
    scs = conic.solve(MomentProgram(objective, data.constraints), "scs", tolerance=1e-4, time_limit=120)
    proven = None if scs.multipliers is None else sound_bound(data, objective, scs.multipliers)
    return {
        "size": data.constraints.size,
        "ours_seconds": our_seconds,
        "ours_gap": ours.gap,
        "ours_bound": sound_bound(data, objective, ours.multipliers).value,
        "scs_seconds": scs.seconds,
        "scs_status": scs.status.name,
        "scs_gap": scs.gap,
        "scs_bound": None if proven is None else proven.value,
        "ratio": scs.seconds / our_seconds,
    }


def decide(count: int = 100) -> dict:
    """All labels of each of the first MNIST test images at L-infinity 0.05, unclipped (printed: 1350 s per image)."""
    entry = zoo.get(PUBLISHED)
    data = datasets.load("mnist")
    seconds, verdicts = [], []
    for index in range(count):
        region = pixel_ball(data.image(index), "inf", 0.05, data.normalisation, False)
        report = certify(entry.network, region, int(data.labels[index]))
        seconds.append(report.seconds)
        verdicts.append(report.verdict)
    return {
        "images": count,
        "certified": sum(v is Verdict.CERTIFIED for v in verdicts),
        "falsified": sum(v is Verdict.FALSIFIED for v in verdicts),
        "mean_seconds": float(np.mean(seconds)),
        "median_seconds": float(np.median(seconds)),
        "max_seconds": float(np.max(seconds)),
        "printed_seconds": 1350.0,
        "ratio": 1350.0 / float(np.mean(seconds)),
    }


def digits() -> dict:
    """An 81-dimensional SDP of digits/mondeq-16 (L-infinity 0.05): interior point against Clarabel and SCS."""
    model, data = problem("digits/mondeq-16", 0, "inf", 0.05)
    objective = objective_matrix(model.problem((model.label + 1) % model.network.classes).objective)
    program = MomentProgram(objective, data.constraints)
    began = time.perf_counter()
    ours, _ = InteriorPoint(data).solve(objective, tolerance=1e-6)
    our_seconds = time.perf_counter() - began
    row = {"size": data.constraints.size, "ours_seconds": our_seconds, "ours_bound": ours.dual_value}
    for name in ("clarabel", "scs"):
        report = conic.solve(program, name, tolerance=1e-6, time_limit=120)
        row |= {f"{name}_seconds": report.seconds, f"{name}_bound": report.dual_value}
    row["ratio"] = min(row["clarabel_seconds"], row["scs_seconds"]) / our_seconds
    return row


def pixels(iterations: int = 6) -> dict:
    """Multipliers of pixels: seconds an iteration and MiB at L-infinity, 784 and 3072 inputs, p = 87, side by side.

    A random network, radius 0.002. `formed` is 3072 with the pixels' block of the Schur complement formed, as below
    MANY_SQUARES; it comes last, because the peak of memory is the process's.
    """
    row: dict = {"p": 87, "iterations": iterations}
    for name, inputs, many in (("784", 784, schur.MANY_SQUARES), ("3072", 3072, 0), ("3072_formed", 3072, np.inf)):
        network, region = mondeq(0, 87, inputs, 10), Ball(np.zeros(inputs), 0.002, np.inf)
        label = int(network.predict(region.center))
        model = robustness_model(network, region, label)
        with patch.object(schur, "MANY_SQUARES", many):
            solver = InteriorPoint(ArrowData(shor_constraints(model)))
        objective = objective_matrix(model.problem((label + 1) % 10).objective)
        began = time.process_time()
        report, _ = solver.solve(objective, tolerance=1e-9, max_iterations=iterations)
        row[f"{name}_cpu_seconds"] = (time.process_time() - began) / report.iterations
        row[f"{name}_bound"] = report.dual_value
        row[f"{name}_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    spans = {name: row[f"{name}_cpu_seconds"] / row["784_cpu_seconds"] for name in ("3072", "3072_formed")}
    row |= {f"{name}_exponent": float(np.log(span) / np.log(3072 / 784)) for name, span in spans.items()}
    return row | {"ratio": row["3072_formed_cpu_seconds"] / row["3072_cpu_seconds"]}


def product_shor(repeats: int = 5) -> dict:
    """Product Shor against SHOR on random (80, 80) networks, s = 80: processor seconds, the better of repeats."""
    row: dict = {}
    for where, radius in (("global", 10.0), ("local", 0.1)):
        region, seconds, bounds = Ball(np.zeros(80), radius, "inf"), {}, {}
        network = random_network((80, 80, 1), 80)
        for _ in range(repeats):
            for method in ("shor", "product-shor"):
                began = time.process_time()
                bounds[method] = lipschitz_bound(network, region, 0, method).value
                seconds[method] = min(time.process_time() - began, seconds.get(method, np.inf))
        for method, value in seconds.items():
            name = f"{where}_{method.replace('-', '_')}"
            row |= {f"{name}_cpu_seconds": value, f"{name}_bound": bounds[method]}
        row[f"{where}_ratio"] = seconds["product-shor"] / seconds["shor"]
    return row | {"ratio": max(row["global_ratio"], row["local_ratio"])}


def trained_network() -> dict:
    """SHOR and product Shor of output 1 of SDP-NN (784-500-10), global and local: processor seconds of one thread."""
    network = zoo.get("chen2020-lipschitz/sdp-nn").network
    row: dict = {}
    for where, radius in (("global", 10.0), ("local", 0.1)):
        for method in ("shor", "product-shor"):
            began = time.process_time()
            found = lipschitz_bound(network, Ball(np.zeros(784), radius, "inf"), 1, method)
            name = f"{where}_{method.replace('-', '_')}"
            row |= {f"{name}_cpu_seconds": time.process_time() - began, f"{name}_bound": found.value}
    return row | {"ratio": row["global_product_shor_cpu_seconds"] / row["global_shor_cpu_seconds"]}


BENCHMARKS = {
    f.__name__.replace("_", "-"): f
    for f in (digits, one_sdp, decide, pixels, product_shor, trained_network, lp_all, exact, auto_lirpa, trees)
}


def main() -> None:
    """Run the named benchmarks, all by default, and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="benchmarks to run (default: all)")
    path = RESULTS / "benchmarks.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for name in parser.parse_args().names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name].__doc__}")
        row = BENCHMARKS[name]()
        row |= {
            "version": tightrope.__version__,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        rows[name] = row
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        for key, value in row.items():
            print(f"    {key:24} {value:.4g}" if isinstance(value, float) else f"    {key:24} {value}")


if __name__ == "__main__":
    main()
