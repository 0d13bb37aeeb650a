"""What each order buys per second, on the labels of Table 2 that neither an attack nor Shor's relaxation decides.

Rows are kept under :data:`ORDERS`, one per image and set. Each has a longer attack than Table 2's for the lower end
and, for every label that it does not reach, proven bounds by methods of growing strength: the bounds from strong
monotonicity, interval and zonotope fixpoints, Shor's relaxation to optimality, and the rounds of order "1+cuts".
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tightrope.attacks import pgd
from tightrope.certificates import Verdict, sound_bound
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import METHODS, fixpoint_bounds
from tightrope.regions import Ball
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.results.chen2021_mondeq.common import SETS, make_case, norm_text, question
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.verifiers.tightening import Tightening
from tightrope.workbench.cases import solved
from tightrope.workbench.records import Store
from tightrope.workbench.tables import Table

ORDERS = "table-2-orders"
RESTARTS, STEPS = 10, 100  # of the longer attack


@dataclass(frozen=True)
class OrderBound:
    """A proven upper bound of F_target - F_label, and the seconds of its method alone (rounds of cuts accumulate)."""

    order: str
    bound: float
    seconds: float


@dataclass(frozen=True)
class OrdersTable:
    """Rows and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def decided(self) -> Table:
        """The images that Table 2 leaves open: what the longer attack and the cuts decide of them."""
        groups: dict[tuple, list[Mapping]] = {}
        for row in self.rows:
            groups.setdefault((row["norm"], row["epsilon_pixel"], row["clip"]), []).append(row)
        lines = []
        for (norm, epsilon, clip), rows in sorted(groups.items(), key=lambda g: (str(g[0][0]), -g[0][1], g[0][2])):
            images = [
                ", ".join(str(row["image"]) for row in rows if row["verdict"] == verdict)
                for verdict in ("falsified", "certified", "unknown")
            ]
            lines.append((norm_text(norm), epsilon, SETS[clip], len(rows), *images))
        columns = ("norm", "epsilon", "set", "open in Table 2", "longer attack", "1+cuts", "still open")
        return Table(columns, tuple(lines))

    @property
    def bounds(self) -> Table:
        """Per order: labels proven, and the mean bound over the labels that every order was tried on."""
        lines = []
        for (order, found), before in zip(self._by_order(), [None, *self._by_order()], strict=False):
            mean = float(np.mean([b.bound for b in found]))
            gain = "" if before is None else f"{float(np.mean([b.bound for b in before[1]])) - mean:.3f}"
            lines.append((order, len(found), sum(b.bound < 0 for b in found), f"{mean:.3f}", gain))
        return Table(("order", "labels", "proven", "mean bound", "gain"), tuple(lines))

    @property
    def per_second(self) -> Table:
        """Seconds per label, and the gain over the order before per second spent."""
        found = self._by_order()
        means = {
            order: (float(np.mean([b.bound for b in bounds])), float(np.mean([b.seconds for b in bounds])))
            for order, bounds in found
        }
        lines = [(order, seconds, None) for order, (_, seconds) in list(means.items())[:1]]
        for (_, (before, _)), (order, (bound, seconds)) in pairwise(means.items()):
            lines.append((order, seconds, (before - bound) / seconds))
        return Table(("order", "s / label", "gain per second"), tuple(lines))

    def _by_order(self) -> list[tuple[str, list[OrderBound]]]:
        """Bounds by order; a round of cuts that was not needed keeps the bound of the round before."""
        targets = [[OrderBound(*b) for b in target["orders"]] for row in self.rows for target in row["targets"]]
        names = max(([b.order for b in bounds] for bounds in targets), key=len, default=[])
        padded = [bounds + [bounds[-1]] * (len(names) - len(bounds)) for bounds in targets]
        return [(name, [bounds[i] for bounds in padded]) for i, name in enumerate(names)]


def table_2_orders(
    rows: Sequence[Mapping],
    rounds: int = 3,
    count: int = 500,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> OrdersTable:
    """Bounds of growing order for what Table 2 leaves open.

    Parameters
    ----------
    rows
        Of Table 2; those with the verdict `unknown` and no attack are asked again.
    rounds, count
        Rounds of cuts, and products of facts that each adds.
    seed
        Of the longer attack.
    profile, store, solve
        As in `table_2`.
    """
    cases = orders_cases(rows, {"rounds": rounds, "count": count, "seed": seed, "profile": profile})
    return OrdersTable(solved(cases, solve or sharpen, store) if cases else ())


def orders_cases(rows: Sequence[Mapping], parameters: Mapping) -> list[dict]:
    """One case per open row of Table 2; the labels to decide are a part of it."""
    cases = []
    for row in rows:
        if row["robustness"] != "unknown" or row["pgd"] == "falsified":
            continue
        profile = row.get("profile", parameters["profile"])  # the row's own, if its radius is not the profile's
        named = {"network": row["network"], "profile": profile, "seed": parameters["seed"]}
        case = make_case(ORDERS, named, row["norm"], row["epsilon_pixel"], row["clip"], row["image"], "orders")
        case["options"] |= {name: parameters[name] for name in ("rounds", "count")}
        case["options"]["targets"] = [d["label"] for d in row["labels"] if d["verdict"] == "unknown"]
        cases.append(case)
    return cases


def sharpen(case: Mapping) -> dict:
    """Solve one case: the longer attack, then every order for each label that it does not reach."""
    network, region, label = question(case)
    options = case["options"]
    start = time.perf_counter()
    attack = pgd(
        network, region, label, targets=options["targets"], restarts=RESTARTS, steps=STEPS, seed=options["seed"]
    )
    seconds_attack = time.perf_counter() - start
    targets = [
        {
            "label": target,
            "attack_margin": float(attack.best_margin[target]),
            "orders": [
                (b.order, b.bound, round(b.seconds, 6))
                for b in orders_of(network, region, label, target, rounds=options["rounds"], count=options["count"])
            ],
        }
        for target in options["targets"]
        if target not in attack.attacks
    ]
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
    network: MonDEQ, region: Ball, label: int, target: int, *, rounds: int = 3, count: int = 500
) -> list[OrderBound]:
    """Bounds of one question, from the cheapest order on."""
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
