"""What each order buys per second: bounds on F_j - F_y of the same questions by methods of growing strength.

    python -m tightrope.experiments.chen2021_mondeq.orders --norm inf --epsilon 0.05 --clip 20 27

prints one row per (image, label, order) and writes nothing. `bound` is proven in every row; the attack's margin is the
lower end of what can be true.
"""

import argparse
import time

import numpy as np

from tightrope import datasets, zoo
from tightrope.attacks import pgd
from tightrope.certificates import Verdict, sound_bound
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import METHODS, fixpoint_bounds
from tightrope.regions import Ball, pixel_ball
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.verifiers.robustness import verify
from tightrope.verifiers.tightening import Tightening

COLUMNS = ("label", "order", "bound", "verdict", "seconds", "gained_per_second")


def orders_of(
    network: MonDEQ, region: Ball, label: int, target: int, *, rounds: int = 3, count: int = 500
) -> list[dict]:
    """Rows of one question, from the cheapest order on; seconds are those of the order alone, rounds accumulate."""
    found = []
    for method in METHODS:
        began = time.perf_counter()
        bound = float(fixpoint_bounds(network, region, method).margins(network, label)[target])
        found.append((method, bound, time.perf_counter() - began))
    began = time.perf_counter()
    model = robustness_model(network, region, label)
    data = ArrowData(shor_constraints(model))
    objective = objective_matrix(model.problem(target).objective)
    report, _ = InteriorPoint(data).solve(objective, tolerance=1e-4)
    proven = None if report.multipliers is None else sound_bound(data, objective, report.multipliers)
    found.append(("1", np.inf if proven is None else proven.value, time.perf_counter() - began))
    began = time.perf_counter()
    tightening = Tightening(model, rounds=rounds, count=count)
    seconds = time.perf_counter() - began
    tightened = tightening(target)
    for i, spent in enumerate(tightened.seconds):
        seconds += spent
        name = "1+bounds" if i == 0 else f"1+cuts, {i} x {count}"
        found.append((name, min(tightened.values[: i + 1]), seconds))
    rows, before = [], None
    for order, bound, seconds in found:
        verdict = Verdict.CERTIFIED if bound < 0 else Verdict.UNKNOWN
        gained = None if before is None else (before - bound) / seconds
        rows.append(dict(zip(COLUMNS, (target, order, bound, str(verdict), seconds, gained), strict=True)))
        before = bound
    return rows


def undecided(network: MonDEQ, region: Ball, label: int, *, seed: int = 0) -> list[tuple[int, float]]:
    """Labels that neither an attack nor order 1 decides, with the attack's margin; empty for a falsified region."""
    report = verify(network, region, label, seed=seed)
    if report.verdict is not Verdict.UNKNOWN:
        return []
    return [(d.label, d.attack_margin) for d in report.decisions if d.verdict is Verdict.UNKNOWN]


def orders_rows(
    name: str, images: list[int], norm: object, epsilon_pixel: float, clip: bool, *, seed: int = 0
) -> list[dict]:
    """Rows of every undecided label of some images of a named network."""
    entry = zoo.get(name)
    data = datasets.load(entry.dataset)
    rows = []
    for image in images:
        region = pixel_ball(data.image(image), norm, epsilon_pixel, data.normalisation, clip)
        label = int(data.labels[image])
        for target, _ in undecided(entry.network, region, label, seed=seed):
            # A longer attack than the verifier's, for the lower end.
            attack = pgd(entry.network, region, label, targets=[target], restarts=5, steps=50, seed=seed)
            case = {"image": image, "epsilon_pixel": epsilon_pixel, "clip": clip}
            case["attack_margin"] = float(attack.best_margin[target])
            rows += [case | row for row in orders_of(entry.network, region, label, target)]
    return rows


def table(rows: list[dict]) -> str:
    """The rows as text."""
    head = (
        f"{'image':>5} {'label':>5} {'attack':>8}  {'order':16} {'bound':>9} {'seconds':>8} {'per second':>10}  verdict"
    )
    lines = [head]
    for row in rows:
        gained = "" if row["gained_per_second"] is None else f"{row['gained_per_second']:.3f}"
        lines.append(
            f"{row['image']:5d} {row['label']:5d} {row['attack_margin']:8.3f}  {row['order']:16} {row['bound']:9.3f} "
            f"{row['seconds']:8.2f} {gained:>10}  {row['verdict']}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print the table for the images given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=int)
    parser.add_argument("--network", default="chen2021-mondeq/mnist-87")
    parser.add_argument("--norm", default="inf")
    parser.add_argument("--epsilon", type=float, default=0.05, help="in pixels")
    parser.add_argument("--clip", action="store_true")
    options = parser.parse_args(arguments)
    print(table(orders_rows(options.network, options.images, options.norm, options.epsilon, options.clip)))


if __name__ == "__main__":
    main()
