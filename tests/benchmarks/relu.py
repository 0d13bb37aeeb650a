"""ReLU networks of salman2019-barrier: the dual over lower slopes beside HiGHS's programs and beside auto_LiRPA."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tightrope import datasets, zoo
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import pixel_ball
from tightrope.threads import one_blas_thread
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.mixed_integer import mixed_integer
from tightrope.verifiers.triangle import layerwise_bounds

#: The Python of an environment with auto_LiRPA.
LIRPA = "TIGHTROPE_LIRPA_PYTHON"
PAPER = "salman2019-barrier"


def questions(name: str, epsilon: float, images: list[int]):
    """A network of the zoo, balls cut to the pixel range, labels of MNIST test images."""
    entry, data = zoo.get(name), datasets.load("mnist")
    balls = [pixel_ball(data.image(i), "inf", epsilon, entry.normalisation, True) for i in images]
    return entry.network, balls, [data.label(i) for i in images]


def _timed(call):
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


def auto_lirpa(images: int = 10, iterations: int = 20) -> dict:
    """CROWN and alpha-CROWN of auto_LiRPA against CROWN, LP-LAST and LP-ALL here: bounds and processor seconds."""
    python = os.environ.get(LIRPA)
    if not python:
        return {"skipped": f"{LIRPA} names no Python with auto_LiRPA"}
    row: dict = {"images": images, "iterations": iterations}
    for name, epsilon in (("adv-mlp-b-0.1", 0.1), ("lpd-mlp-b-0.3", 0.3), ("nor-mlp-9-100", 0.01)):
        network, balls, labels = questions(f"{PAPER}/{name}", epsilon, list(range(images)))
        theirs = _lirpa(python, network, balls, labels, iterations)
        inputs = InputSet.from_balls(balls)
        ours, seconds = {}, {}
        with one_blas_thread(), torch.no_grad():
            for method in ("crown", "lp-last", "lp-all"):
                found = []
                began = time.process_time()
                for i, label in enumerate(labels):
                    one = inputs.rows(torch.tensor([i]))
                    if method == "crown":
                        margins = bounds(network, one, "crown", [label]).margins[0]
                    else:
                        margins = layerwise(network, one, label, method).margins
                    found.append(np.delete(margins.numpy(), label))
                seconds[method] = (time.process_time() - began) / images
                ours[method] = np.array(found)
        alpha = theirs["alpha-crown-single"]
        row[name] = {
            "epsilon": epsilon,
            "torch_of_auto_lirpa": str(theirs["versions"][0]),
            "crown_largest_difference": float(np.abs(theirs["crown-double"] - ours["crown"]).max()),
            # The largest margin decides; lower is tighter.
            "mean_worst": {
                "auto_LiRPA CROWN": float(theirs["crown-double"].max(1).mean()),
                "auto_LiRPA alpha-CROWN": float(alpha.max(1).mean()),
                **{f"ours {method}": float(found.max(1).mean()) for method, found in ours.items()},
            },
            "images_where_lp_all_is_lower": int((ours["lp-all"].max(1) < alpha.max(1)).sum()),
            "lp_all_most_above_alpha_crown": float((ours["lp-all"].max(1) - alpha.max(1)).max()),
            "seconds": {
                "auto_LiRPA CROWN": float(theirs["crown-single-seconds"].mean()),
                "auto_LiRPA alpha-CROWN": float(theirs["alpha-crown-single-seconds"].mean()),
                **{f"ours {method}": value for method, value in seconds.items()},
            },
            "ratio": float(theirs["alpha-crown-single-seconds"].mean() / seconds["lp-all"]),
        }
    return row


def _lirpa(python: str, network, balls, labels, iterations: int) -> dict:
    given = {f"W{i}": W for i, W in enumerate(network.weights)} | {f"b{i}": b for i, b in enumerate(network.biases)}
    sides = [np.array(side) for side in zip(*(ball.bounding_box() for ball in balls), strict=True)]
    side = Path(__file__).with_name("lirpa_side.py")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "questions.npz", Path(folder) / "answers.npz"
        np.savez(source, depth=len(network.weights), lower=sides[0], upper=sides[1], labels=np.array(labels),
                 iterations=iterations, **given)  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
        subprocess.run([python, str(side), str(source), str(target)], check=True, env=environment)
        return dict(np.load(target))


def lp_all(images: int = 10) -> dict:
    """LP-ALL of an image, all bounds and all labels (ADV-MLP-B, 0.1): the dual against HiGHS's linear programs."""
    network, balls, labels = questions(f"{PAPER}/adv-mlp-b-0.1", 0.1, list(range(images)))
    ours, theirs, apart, programs = [], [], [], 0
    for ball, label in zip(balls, labels, strict=True):
        with one_blas_thread():
            dual, seconds = _timed(lambda: layerwise(network, InputSet.from_balls([ball]), label))  # noqa: B023
        ours.append(seconds)
        exact, seconds = _timed(lambda: layerwise_bounds(network, *ball.bounding_box(), label))  # noqa: B023
        theirs.append(seconds)
        apart.append(dual.worst - exact.worst)
        programs += exact.programs
    return {
        "images": images,
        "dual_seconds": float(np.mean(ours)),
        "dual_largest_seconds": float(np.max(ours)),
        "highs_seconds": float(np.mean(theirs)),
        "highs_programs": programs / images,
        "dual_above_highs": float(np.max(apart)),
        "ratio": float(np.mean(theirs) / np.mean(ours)),
    }


def exact(images: int = 12, time_limit: float = 60.0) -> dict:
    """LPD-MLP-B at 0.1, the first images that LP-ALL and attacks leave open: branch and bound against HiGHS's MILP."""
    from tightrope.verifiers.cascade import By, certify_boxes

    network, balls, labels = questions(f"{PAPER}/lpd-mlp-b-0.1", 0.1, list(range(400)))
    asked, limits = [Question(network, *one) for one in zip(balls, labels, strict=True)], Limits(time=time_limit)
    decisions = certify_boxes(asked, complete=False)
    rows = []
    for i in [i for i, decision in enumerate(decisions) if decision.by is By.NOTHING][:images]:
        ours, seconds = _timed(lambda: branch_and_bound(asked[i], limits))  # noqa: B023
        theirs, milp = _timed(lambda: mixed_integer(asked[i], limits))  # noqa: B023
        rows.append((i, ours.verdict, seconds, theirs.verdict, milp, theirs.binaries))
    both = [(a, b) for _, a, _, b, _, _ in rows if Verdict.UNKNOWN not in (a, b)]
    reached = Verdict.FALSIFIED  # or certified by one and computed by the other
    return {
        "images": [row[0] for row in rows],
        "time_limit": time_limit,
        "ours": [row[1].value for row in rows],
        "milp": [row[3].value for row in rows],
        "binaries": [row[5] for row in rows],
        "decided_by_both": len(both),
        "contradictions": sum((a is reached) != (b is reached) for a, b in both),
        "ours_seconds": float(np.mean([row[2] for row in rows])),
        "milp_seconds": float(np.mean([row[4] for row in rows])),
        "ratio": float(np.mean([row[4] for row in rows]) / np.mean([row[2] for row in rows])),
    }
