"""CROWN and alpha-CROWN by auto_LiRPA, by itself: `python lirpa_side.py CHECKOUT QUESTIONS.npz ANSWERS.npz`.

CHECKOUT is a clone of github.com/Verified-Intelligence/auto_LiRPA, which need not be installed. This file needs NumPy,
torch and that folder; `python -m tests.benchmarks auto-lirpa` calls it, in an environment that is the project's.
"""

import sys
import time
from unittest.mock import MagicMock

import numpy as np
import torch

#: What auto_LiRPA imports for its caches and its drawings only.
UNUSED = ("appdirs", "graphviz")
#: With sparse multipliers this version stops at an assertion of its own on dense networks.
OPTIONS = {"sparse_spec_alpha": False, "sparse_features_alpha": False, "sparse_intermediate_bounds": False}


def main(checkout: str, source: str, target: str) -> None:
    """Read weights, boxes and labels; write margins (N, K - 1), F_k - F_label in the order of k, and seconds an image.

    Seconds are of processor time, without those of building the module, "each" image by itself and all in one "batch".
    """
    sys.path.insert(0, checkout)
    for name in UNUSED:
        sys.modules.setdefault(name, MagicMock())
    import auto_LiRPA

    given = np.load(source)
    answers = {"versions": np.array([auto_LiRPA.__version__, torch.__version__])}
    torch.set_num_threads(1)
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        module = sequential(given, dtype)
        for method, name in (("CROWN", "crown"), ("CROWN-Optimized", "alpha-crown")):
            if name == "alpha-crown" and (dtype is torch.float64 or not given["iterations"]):
                continue
            for kind, size in (("each", 1), ("batch", len(given["labels"]))):
                key = f"{name}-{kind}-{'double' if dtype is torch.float64 else 'single'}"
                answers[key], answers[f"{key}-seconds"] = bounds(module, given, method, size, dtype)
    np.savez(target, **answers)


def sequential(given, dtype) -> torch.nn.Sequential:
    """The network."""
    layers = []
    for i in range(int(given["depth"])):
        W, b = torch.tensor(given[f"W{i}"]).to(dtype), torch.tensor(given[f"b{i}"]).to(dtype)
        if W.ndim == 4:
            if not layers:
                layers.append(torch.nn.Unflatten(1, tuple(given["shape"].tolist())))
            stride, padding = given[f"steps{i}"].tolist()
            layer = torch.nn.Conv2d(W.shape[1], W.shape[0], tuple(W.shape[2:]), tuple(stride), tuple(padding))
        else:
            if layers and isinstance(layers[-2], torch.nn.Conv2d):
                layers.append(torch.nn.Flatten())
            layer = torch.nn.Linear(*W.shape[::-1])
        with torch.no_grad():
            layer.weight.copy_(W)
            layer.bias.copy_(b)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def bounds(module, given, method, size, dtype) -> tuple[np.ndarray, float]:
    """Upper bounds of F_k - F_label, minus the lower bounds of F_label - F_k, `size` images at a time; and seconds."""
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm

    lower, upper = (torch.tensor(given[side]).to(dtype) for side in ("lower", "upper"))
    labels, classes = torch.tensor(given["labels"]), module[-1].out_features
    options = {**OPTIONS, "optimize_bound_args": {"iteration": int(given["iterations"])}}
    bounded = BoundedModule(module, lower[:size], bound_opts=options)
    others = torch.stack([torch.tensor([k for k in range(classes) if k != label]) for label in labels])
    unit = torch.eye(classes, dtype=dtype)
    forms = unit[labels][:, None] - unit[others]
    margins, began = [], time.process_time()
    for rows in torch.arange(len(labels)).split(size):
        low, high = lower[rows], upper[rows]
        x = BoundedTensor((low + high) / 2, PerturbationLpNorm(norm=np.inf, x_L=low, x_U=high))
        least, _ = bounded.compute_bounds(x=(x,), C=forms[rows], method=method, bound_upper=False)
        margins.append(-least.detach())
    spent = time.process_time() - began
    return torch.cat(margins).numpy(), spent / len(labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
