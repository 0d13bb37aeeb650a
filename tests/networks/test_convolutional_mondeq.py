"""monDEQs of convolutions: the layout's own definition in torch, against the matrices that are read."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, pad, relu

from tightrope import Verdict
from tightrope.attacks import pgd
from tightrope.errors import NetworkError
from tightrope.networks import MonDEQ, load
from tightrope.propagation.fixpoint import METHODS, fixpoint_bounds
from tightrope.question import Question
from tightrope.regions import Ball
from tightrope.verifiers.robustness import certify

LAYER = "mon.linear_module."


def single(seed: int, channels: int, filters: int, n: int, classes: int = 3) -> dict[str, torch.Tensor]:
    """A state dictionary of one convolutional layer for images n x n; the scores see its frame too."""
    g = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    state = {LAYER + "U.weight": drawn(filters, channels, 3, 3), LAYER + "U.bias": drawn(filters)}
    state |= {LAYER + f"{name}.weight": drawn(filters, filters, 3, 3) for name in "AB"}
    state |= {LAYER + "g": torch.tensor(1.7).double(), LAYER + "h": torch.tensor(-0.6).double()}
    return state | {
        "Wout.weight": drawn(classes, filters * ((n + 2) // 4) ** 2),
        "Wout.bias": drawn(classes),
    }


def several(seed: int, channels: int, filters: tuple[int, ...], n: int, classes: int = 3) -> dict[str, torch.Tensor]:
    """The same of layers that are halved from one to the next."""
    g = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    state = {LAYER + "U.weight": drawn(filters[0], channels, 3, 3), LAYER + "U.bias": drawn(filters[0])}
    for i, own in enumerate(filters):
        state |= {LAYER + f"{name}0.{i}.weight": drawn(own, own, 3, 3) for name in "AB"}
        state |= {LAYER + f"g.{i}": torch.tensor(0.5 + i).double(), LAYER + f"h.{i}": torch.tensor(0.3 - i).double()}
        if i + 1 < len(filters):
            state |= {
                LAYER + f"A_n0.{i}.weight": drawn(filters[i + 1], own, 3, 3),
                LAYER + f"gn.{i}": torch.tensor(0.8).double(),
            }
    size = n // 2 ** (len(filters) - 1) + 2
    return state | {"Wout.weight": drawn(classes, filters[-1] * size**2), "Wout.bias": drawn(classes)}


def around(x: torch.Tensor) -> torch.Tensor:
    return pad(x, (1, 1, 1, 1), mode="circular")


def adjoint(y: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The transpose of x -> conv2d(around(x), kernel)."""
    return conv_transpose2d(around(y), kernel)[:, :, 2:-2, 2:-2]


def framed(z: torch.Tensor) -> torch.Tensor:
    """ReLU with a frame of zeros."""
    return pad(relu(z)[:, :, 1:-1, 1:-1], (1, 1, 1, 1))


def scores(state: dict[str, torch.Tensor], m: float, x: torch.Tensor) -> torch.Tensor:
    """The network by its definition, the equilibrium by damped iteration, for images (N, channels, n, n)."""
    part = {key.removeprefix(LAYER): value for key, value in state.items()}
    one = "A.weight" in part
    count = 1 if one else sum(key.startswith("A0.") for key in part)

    def kernel(key, factor=1.0):
        return factor * part[key] / part[key].norm()

    names = [(f"A0.{i}.weight", f"B0.{i}.weight", f"g.{i}", f"h.{i}") for i in range(count)]
    names = [("A.weight", "B.weight", "g", "h")] if one else names
    A = [kernel(name[0], part[name[2]].sqrt()) for name in names]
    B = [kernel(name[1], part[name[3]]) for name in names]
    N = [kernel(f"A_n0.{i}.weight", part[f"gn.{i}"].sqrt()) for i in range(count - 1)]
    x = pad(x, (1, 1, 1, 1))
    first = conv2d(around(x), part["U.weight"], part["U.bias"])
    size = x.shape[-1] - 2
    z = [torch.zeros(len(x), len(A[i]), size // 2**i + 2, size // 2**i + 2, dtype=x.dtype) for i in range(count)]

    def times(z):
        out = []
        for i in range(count):
            h = (1 - m) * z[i] - adjoint(conv2d(around(z[i]), A[i]), A[i]) + conv2d(around(z[i]), B[i])
            h = h - adjoint(z[i], B[i])
            if i < count - 1:
                back = conv_transpose2d(conv2d(around(z[i]), N[i], stride=2), N[i], stride=2)
                back[:, :, :, -1] += back[:, :, :, 0]
                back[:, :, -1, :] += back[:, :, 0, :]
                h = h - back[:, :, 1:, 1:]
            if i:
                down = pad(conv2d(around(z[i - 1]), N[i - 1], stride=2), (0, 1, 0, 1))
                h = h - 2 * adjoint(down, A[i])
            out.append(h)
        return out

    for _ in range(4000):
        wz = times(z)
        z = [framed(0.9 * z[i] + 0.1 * (wz[i] + (first if i == 0 else 0))) for i in range(count)]
    residual = max(float((z[i] - framed(h + (first if i == 0 else 0))).abs().max()) for i, h in enumerate(times(z)))
    assert residual < 1e-12
    last = avg_pool2d(z[-1], 4) if one else z[-1]
    return last.flatten(1) @ state["Wout.weight"].T + state["Wout.bias"]


CASES = {
    "one layer": (single(0, 1, 2, 5), (1, 5, 5)),
    "one layer, three channels, the last pixels in no average": (single(1, 3, 2, 7), (3, 7, 7)),
    "two layers": (several(2, 2, (2, 3), 6), (2, 6, 6)),
    "three layers": (several(3, 1, (1, 2, 2), 8), (1, 8, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_the_definition(name, tmp_path):
    """In torch with circular padding, frames and strides; W is as monotone as m says."""
    state, shape = CASES[name]
    torch.save(state, tmp_path / "net.pt")
    network = load(tmp_path / "net.pt", m=0.7, input_shape=shape)
    assert isinstance(network, MonDEQ) and network.m == 0.7
    assert np.linalg.eigvalsh(np.eye(network.width) - (network.W + network.W.T) / 2)[0] >= 0.7 * (1 - 1e-9)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = scores(state, 0.7, x).numpy()
    np.testing.assert_allclose(network.logits(x.numpy()), expected, rtol=1e-8, atol=1e-8)
    assert network.sha256() == MonDEQ.from_state_dict(state, 0.7, input_shape=shape).sha256()


@pytest.mark.parametrize("name", ["one layer", "two layers"])
def test_every_tool_of_a_mondeq_takes_it(name):
    """Attack <= branch and bound <= order 1; bounds of boxes and zonotopes hold the equilibria."""
    state, shape = CASES[name]
    network = MonDEQ.from_state_dict(state, 0.7, input_shape=shape)
    x = np.random.default_rng(3).normal(size=network.input_size)
    label = network.predict(x)
    region = Ball(x, 0.02, np.inf)
    points = region.sample(50, np.random.default_rng(4))
    margins = network.logits(points) - network.logits(points)[:, [label]]
    others = np.arange(network.classes) != label
    for method in METHODS:
        bounds = fixpoint_bounds(network, region, method)
        assert bounds.h.contains(network.preactivation(points, network.equilibrium(points))).all(), method
        assert (margins[:, others].max(0) <= bounds.margins(network, label)[others]).all()
    reached = pgd(Question(network, region, label)).attacks
    for verdict in (certify(network, region, label, method="shor", attack=False), certify(network, region, label)):
        for decision in verdict.decisions:
            assert decision.label not in reached or decision.verdict is not Verdict.CERTIFIED
            if np.isfinite(decision.bound):
                assert margins[:, decision.label].max() <= decision.bound + 1e-9
    assert certify(network, Ball(x, 1e-4, np.inf), label).verdict is Verdict.CERTIFIED
    assert certify(network, Ball(x, 5.0, np.inf), label).verdict is Verdict.FALSIFIED


def changed(**more):
    state = CASES["two layers"][0] | {LAYER + key.replace("__", "."): value for key, value in more.items()}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "shape", "message"),
    [
        (changed(), None, r"Give input_shape=\(channels, height, width\)"),
        (changed(), (2, 6), "input_shape: expected 3 integers"),
        (changed(), (1, 6, 6), "2 channels are needed, height and width must be multiples of 2"),
        (changed(), (2, 7, 6), "must be multiples of 2"),
        (changed(), (2, 4, 4), r"Wout.weight has shape \(3, 75\); it must be any x 48"),
        (changed(B0__1__weight=None), (2, 6, 6), r"lacks mon.linear_module.B0.1.weight; it has"),
        (
            changed(A0__0__weight=torch.ones(2, 2, 5, 5)),
            (2, 6, 6),
            "A0.0.weight has shape .* it must be any x any x 3 x 3",
        ),
        (changed(A0__0__weight=torch.zeros(2, 2, 3, 3)), (2, 6, 6), "a kernel of zeros"),
        (changed(gn__0=torch.tensor(-1.0)), (2, 6, 6), "g or gn is -1.0"),
        (changed(U__bias=torch.tensor([1.0, np.nan])), (2, 6, 6), "entries that are nan"),
        (single(0, 1, 54, 28), (1, 28, 28), "42336 neurons of 784 inputs; W and U may have 16777216 entries each"),
        (single(0, 1, 2, 5) | {LAYER + "g": torch.tensor(-9.0)}, (1, 5, 5), "W is not monotone"),
    ],
)
def test_what_is_not_read_is_named(state, shape, message):
    """Sizes that a state dictionary does not hold, kernels of other sizes, and a W that does not fit in memory."""
    with pytest.raises(NetworkError, match=message):
        MonDEQ.from_state_dict(state, 0.7, input_shape=shape)
