"""CROWN and alpha-CROWN by auto_LiRPA, in an environment of its own: `python lirpa_side.py QUESTIONS.npz ANSWERS.npz`.

auto_LiRPA 0.3 wants torch below 1.13 and NumPy 1, so it cannot share this project's environment. This file needs
nothing but NumPy, torch and auto_LiRPA; `python -m tests.benchmarks auto-lirpa` calls it.
"""

import sys
import time

import numpy as np
import torch

#: With sparse multipliers this version stops at an assertion of its own on dense networks.
OPTIONS = {"sparse_spec_alpha": False, "sparse_features_alpha": False, "sparse_intermediate_bounds": False}


def main(source: str, target: str) -> None:
    """Read weights, boxes and labels; write margins (N, K - 1), F_k - F_label in the order of k, and seconds."""
    given, answers = np.load(source), {"versions": np.array([torch.__version__])}
    torch.set_num_threads(1)
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        module = sequential(given, dtype)
        for method, name in (("CROWN", "crown"), ("CROWN-Optimized", "alpha-crown")):
            margins, spent = [], []
            for lower, upper, label in zip(given["lower"], given["upper"], given["labels"], strict=True):
                began = time.process_time()
                margins.append(bound(module, lower, upper, int(label), method, int(given["iterations"]), dtype))
                spent.append(time.process_time() - began)
            key = f"{name}-{'double' if dtype is torch.float64 else 'single'}"
            answers[key], answers[f"{key}-seconds"] = np.array(margins), np.array(spent)
    np.savez(target, **answers)


def sequential(given, dtype) -> torch.nn.Sequential:
    """The network."""
    layers = []
    for i in range(int(given["depth"])):
        linear = torch.nn.Linear(*given[f"W{i}"].shape[::-1])
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(given[f"W{i}"]).to(dtype))
            linear.bias.copy_(torch.tensor(given[f"b{i}"]).to(dtype))
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def bound(module, lower, upper, label, method, iterations, dtype) -> np.ndarray:
    """Upper bounds of F_k - F_label: minus the lower bounds of F_label - F_k."""
    # Here, so that the file can be read (by pytest, which looks for examples) where the package is not.
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm

    low, high = torch.tensor(lower).to(dtype)[None], torch.tensor(upper).to(dtype)[None]
    center = (low + high) / 2
    bounded = BoundedModule(module, center, bound_opts={**OPTIONS, "optimize_bound_args": {"iteration": iterations}})
    x = BoundedTensor(center, PerturbationLpNorm(norm=np.inf, x_L=low, x_U=high))
    classes = module[-1].out_features
    others = [k for k in range(classes) if k != label]
    forms = torch.zeros(1, len(others), classes)
    forms[0, :, label] = 1.0
    forms[0, range(len(others)), others] = -1.0
    least, _ = bounded.compute_bounds(x=(x,), C=forms, method=method, bound_upper=False)
    return -least[0].detach().numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
