"""What each order buys per second, on the labels of Table 2 that neither an attack nor Shor's relaxation decides.

There is one row for each image and set. It has a longer attack than Table 2's for the lower end and, for every label
that this does not reach, proven bounds by methods of growing strength: the bounds from strong monotonicity, interval
and zonotope fixpoints, Shor's relaxation to optimality, and the rounds of order "1+cuts".
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tightrope.attacks import pgd
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import METHODS, fixpoint_bounds
from tightrope.question import Question, Verdict
from tightrope.regions import Ball
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.tightening import Tightening
from tightrope.workbench.cases import ball_case
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows
from .common import PAPER, by_ball, in_words, question

table_2_orders = Experiment(PAPER, "table-2-orders", may_be_empty=True)
RESTARTS, STEPS = 10, 100  # of the longer attack
ROUNDS, COUNT = 3, 500  # of cuts, and products of facts that each round adds


class OrderBound(NamedTuple):
    """A proven upper bound of F_target - F_label, and the seconds of its method alone (rounds of cuts accumulate)."""

    order: str
    bound: float
    seconds: float


@table_2_orders.cases
def cases(rows: Rows, seed: int) -> Cases:
    """Return one case for each row of Table 2 that is open; the labels to decide are a part of it."""
    return open_cases(rows, "orders", {"seed": seed, "rounds": ROUNDS, "count": COUNT})


def open_cases(rows: Rows, method: str, options: Mapping) -> Cases:
    """Yield one case for each row of Table 2 that is open; its labels without a verdict are the option `targets`."""
    for row in rows.where(robustness="unknown", pgd="unknown"):
        targets = [decision["label"] for decision in row["labels"] if decision["verdict"] == "unknown"]
        ball = row["norm"], row["epsilon_pixel"], row["clip"]
        case = ball_case(row["network"], *ball, method, {**options, "targets": targets}, image=row["image"])
        yield {"profile": row["profile"], **case}  # the row's own, if its radius is not the profile's


@table_2_orders.solve
def bound_by_orders(case: Case) -> dict:
    """Attack for longer, then bound each label that is not reached by every order."""
    network, region, label = question(case)
    seed, rounds, count, asked = (case["options"][name] for name in ("seed", "rounds", "count", "targets"))
    start = time.perf_counter()
    attack = pgd(Question(network, region, label, asked), restarts=RESTARTS, steps=STEPS, seed=seed)
    seconds_attack = time.perf_counter() - start
    targets = []
    for target in asked:
        if target not in attack.attacks:
            found = orders_of(network, region, label, target, rounds=rounds, count=count)
            orders = [(order, bound, round(seconds, 6)) for order, bound, seconds in found]
            margin = float(attack.best_margin[target])
            targets.append({"label": target, "attack_margin": margin, "orders": orders})
    proven = all(min(bound for _, bound, _ in target["orders"]) < 0 for target in targets)
    verdict = Verdict.FALSIFIED if attack.attacks else Verdict.CERTIFIED if proven else Verdict.UNKNOWN
    return {
        "label": label,
        "verdict": verdict.value,
        "best_margin": float(np.nanmax(attack.best_margin)),
        "targets": targets,
        "seconds_attack": round(seconds_attack, 6),
        "seconds": round(time.perf_counter() - start, 6),
    }


def orders_of(
    network: MonDEQ, region: Ball, label: int, target: int, *, rounds: int = ROUNDS, count: int = COUNT
) -> list[OrderBound]:
    """Return bounds of one question, from the cheapest order on."""
    found = []
    for method in METHODS:
        began = time.perf_counter()
        bound = float(fixpoint_bounds(network, region, method).margins(network, label)[target])
        found.append(OrderBound(method, bound, time.perf_counter() - began))
    began = time.perf_counter()
    model = robustness_model(network, region, label)
    data = ArrowData(shor_constraints(model))
    objective = objective_matrix(model.problem(target).objective)
    report, _ = InteriorPoint(data).solve(objective, tolerance=1e-4)
    proven = None if report.multipliers is None else sound_bound(data, objective, report.multipliers)
    found.append(OrderBound("1", np.inf if proven is None else proven.value, time.perf_counter() - began))
    began = time.perf_counter()
    tightening = Tightening(model, rounds=rounds, count=count)
    seconds = time.perf_counter() - began
    tightened = tightening(target)
    for i, spent in enumerate(tightened.seconds):
        seconds += spent
        name = "1+bounds" if i == 0 else f"1+cuts, {i} x {count}"
        found.append(OrderBound(name, min(tightened.values[: i + 1]), seconds))
    return found


@table_2_orders.lines("norm | epsilon | set | open in Table 2 | longer attack | 1+cuts | still open")
def decided(rows: Rows) -> Lines:
    """Return the images that Table 2 leaves open: what the longer attack and the cuts decide of them."""
    for ball, own in by_ball(rows):
        images = (own.where(verdict=verdict).column("image") for verdict in ("falsified", "certified", "unknown"))
        yield *in_words(*ball), len(own), *(", ".join(map(str, some)) for some in images)


@table_2_orders.lines(
    "order | labels | proven | mean bound | gain",
    tolerance={"mean bound": 0.005, "gain": 0.005},
    bounds={"mean bound": "upper"},
)
def bounds(rows: Rows) -> Lines:
    """Return for each order the labels proven, and the mean bound over the labels that every order was tried on."""
    before = None
    for order, found in by_order(rows).items():
        mean = float(np.mean([b.bound for b in found]))
        gain = "" if before is None else f"{before - mean:.3f}"
        yield order, len(found), sum(b.bound < 0 for b in found), mean, gain
        before = mean


@table_2_orders.lines("order | s / label | gain per second")
def per_second(rows: Rows) -> Lines:
    """Return seconds per label, and the gain over the order before per second spent."""
    before = None
    for order, found in by_order(rows).items():
        bound, seconds = (float(np.mean([getattr(b, name) for b in found])) for name in ("bound", "seconds"))
        yield order, seconds, None if before is None else (before - bound) / seconds
        before = bound


def by_order(rows: Rows) -> dict[str, list[OrderBound]]:
    """Return the bounds of every label by order; a round of cuts that was not needed keeps the bound before it."""
    targets = [[OrderBound(*b) for b in target["orders"]] for row in rows for target in row["targets"]]
    names = max(([b.order for b in bounds] for bounds in targets), key=len, default=[])
    padded = [bounds + [bounds[-1]] * (len(names) - len(bounds)) for bounds in targets]
    return {name: [bounds[i] for bounds in padded] for i, name in enumerate(names)}
