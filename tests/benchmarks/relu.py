"""ReLU networks of salman2019-barrier: the dual over lower slopes beside HiGHS's programs and beside auto_LiRPA."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tightrope import datasets, zoo
from tightrope.networks import Convolution
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise, layerwise_each
from tightrope.propagation.operators import operators
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import pixel_ball
from tightrope.threads import one_blas_thread, one_torch_thread
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.mixed_integer import mixed_integer
from tightrope.verifiers.triangle import layerwise_bounds
from .peers import CACHE, CLONES, clones

PAPER = "salman2019-barrier"
#: Network, radius, images, and whether alpha-CROWN is run (it takes 14 s an image of the convolutional one).
QUESTIONS = (
    ("adv-mlp-b-0.1", 0.1, 20, True),
    ("nor-mlp-b", 0.03, 20, True),
    ("adv-mlp-2-100", 0.1, 20, True),
    ("nor-mlp-9-100", 0.01, 8, True),
    ("adv-cnn-small", 0.1, 20, False),
)


def questions(name: str, epsilon: float, images: list[int]):
    """A network of the zoo, balls cut to the pixel range, labels of MNIST test images."""
    entry, data = zoo.get(name), datasets.load("mnist")
    balls = [pixel_ball(data.image(i), "inf", epsilon, entry.normalisation, True) for i in images]
    return entry.network, balls, [data.label(i) for i in images]


def _timed(call):
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


def auto_lirpa(iterations: int = 20) -> dict:
    """CROWN and alpha-CROWN of auto_LiRPA beside CROWN and LP-ALL here: bounds, processor seconds an image, batches."""
    checkout = clones(CACHE) / "auto_LiRPA"
    if not checkout.is_dir():
        return {"skipped": f"no {checkout}: `make peers` clones it, or {CLONES} names the folder that it is in"}
    row: dict = {"iterations": iterations}
    for name, epsilon, images, alpha in QUESTIONS:
        network, balls, labels = questions(f"{PAPER}/{name}", epsilon, list(range(images)))
        theirs = _lirpa(checkout, network, balls, labels, iterations if alpha else 0)
        inputs, layers = InputSet.from_balls(balls), operators(network)
        worst = {
            f"auto_LiRPA {key}": float(np.max(value, 1).mean()) for key, value in theirs.items() if value.ndim == 2
        }
        seconds = {f"auto_LiRPA {key[:-8]}": float(value) for key, value in theirs.items() if key.endswith("-seconds")}
        methods = {"crown": lambda rows, own, net=layers: bounds(net, rows, "crown", own).margins}
        if alpha:
            methods["lp-all"] = lambda rows, own, net=layers: torch.stack(
                [found.margins for found in layerwise_each(net, rows, own)]
            )
        with one_blas_thread(), one_torch_thread(), torch.no_grad():
            for method, call in methods.items():
                for kind, size in (("each", 1), ("batch", images)):
                    began = time.process_time()
                    found = [
                        call(inputs.rows(rows), torch.tensor(labels)[rows]) for rows in torch.arange(images).split(size)
                    ]
                    seconds[f"ours {method}-{kind}"] = (time.process_time() - began) / images
                    own = torch.tensor(labels)[:, None]
                    worst[f"ours {method}-{kind}"] = float(
                        torch.cat(found).scatter(1, own, -np.inf).max(1).values.mean()
                    )
        row[name] = {
            "epsilon": epsilon,
            "images": images,
            "versions": theirs["versions"].tolist(),
            "mean_worst": worst,
            "seconds": seconds,
            "crown_ratio": seconds["auto_LiRPA crown-batch-single"] / seconds["ours crown-batch"],
        }
        if alpha:
            row[name]["ratio"] = seconds["auto_LiRPA alpha-crown-batch-single"] / seconds["ours lp-all-batch"]
    return row


def _lirpa(checkout: Path, network, balls, labels, iterations: int) -> dict:
    given: dict = {}
    for i, layer in enumerate(network.layers):
        given |= {f"W{i}": layer.weight, f"b{i}": layer.bias}
        if isinstance(layer, Convolution):
            given[f"steps{i}"] = np.array([layer.stride, layer.padding])
    first = network.layers[0]
    given["shape"] = np.array(first.input_shape if isinstance(first, Convolution) else first.weight.shape[1:])
    sides = [np.array(side) for side in zip(*(ball.bounding_box() for ball in balls), strict=True)]
    given |= {"depth": len(network.layers), "lower": sides[0], "upper": sides[1], "labels": np.array(labels)}
    side = Path(__file__).with_name("lirpa_side.py")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "questions.npz", Path(folder) / "answers.npz"
        np.savez(source, iterations=iterations, **given)
        environment = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
        subprocess.run([sys.executable, side, checkout, source, target], check=True, env=environment)
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
