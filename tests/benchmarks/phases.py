"""Trees of phases on ten fixed questions: ours, and the tree that solves every node cold; HiGHS on the smallest."""

import time

from tests.oracles.mondeq_milp import largest_margin
from tightrope import datasets, zoo
from tightrope.problems.robustness import robustness_model
from tightrope.question import Limits
from tightrope.regions import INFINITY, pixel_ball
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.report import Status
from tightrope.verifiers.phases import Phases

#: Image, whether it is clipped, target and radius: what Table 2 of chen2021-mondeq leaves open, and what cuts decide.
QUESTIONS = (
    (20, True, 7, 0.05),
    (27, False, 9, 0.05),
    (64, False, 3, 0.05),
    (70, False, 3, 0.05),
    (72, False, 3, 0.05),
    (35, True, 3, 0.1),
    (51, True, 5, 0.1),
    (71, False, 2, 0.1),
    (71, False, 3, 0.1),
    (95, True, 6, 0.1),
)
#: Seconds of each tree for one question, and of HiGHS for the first one, which has 29 unstable neurons; those with 60
#: it leaves open for hours.
LIMIT, MILP_LIMIT = 300.0, 120.0


def trees(questions: tuple[tuple[int, bool, int, float], ...] = QUESTIONS) -> dict:
    """Ten questions of Table 2: ours, and the tree that solves every node anew; HiGHS on the first; CPU seconds."""
    entry, data = zoo.get("chen2021-mondeq/mnist-87"), datasets.load("mnist")
    rows = {}
    for image, clip, target, epsilon in questions:
        label = data.label(image)
        region = pixel_ball(data.image(image), INFINITY, epsilon, entry.normalisation, clip)
        model = robustness_model(entry.network, region, label)
        arrow, objective = ArrowData(shor_constraints(model)), objective_matrix(model.problem(target).objective)
        report, _ = InteriorPoint(arrow).solve(objective, sign_only=True)  # which the cascade has from order 1
        phases, row = Phases(model), {}
        for name, multipliers in (("ours", arrow.constraints.split(report.multipliers)), ("cold", None)):
            began = time.process_time()
            tree = phases(target, Limits(time=LIMIT), multipliers=multipliers, ellipsoids=name == "ours")
            seconds = time.process_time() - began
            row |= {f"{name}_verdict": tree.verdict.value, f"{name}_nodes": tree.nodes, f"{name}_seconds": seconds}
        if (image, clip, target, epsilon) == QUESTIONS[0]:
            began = time.process_time()
            milp = largest_margin(entry.network, region, label, target, phases.invariant, time_limit=MILP_LIMIT)
            row |= {"highs_decided": milp.status is Status.SOLVED, "highs_bound": float(milp.bound)}
            row["highs_seconds"] = time.process_time() - began
        rows[f"{image} {'clipped' if clip else 'unclipped'} {epsilon} against {target}"] = row
        print(image, clip, target, epsilon, row, flush=True)
    summed = [f"{name}_{what}" for name in ("ours", "cold") for what in ("nodes", "seconds")]
    total = {key: sum(row[key] for row in rows.values()) for key in summed}
    mean = {f"{name}_seconds_per_node": total[f"{name}_seconds"] / total[f"{name}_nodes"] for name in ("ours", "cold")}
    mean["ratio_per_node"] = mean["ours_seconds_per_node"] / mean["cold_seconds_per_node"]
    return {**total, **mean, "ratio": total["ours_seconds"] / total["cold_seconds"], "questions": rows}
