"""Random small networks and regions, each from (seed, number) alone: what makes bounds fail, not what is usual."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tightrope.errors import NetworkError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, LeakyReLU, MonDEQ, Scaling
from tightrope.networks.activations import RELU, MaxPool, named
from tightrope.networks.graph import Node, Signal, added, assemble, concatenated
from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, Region, Zonotope

RELU_FAMILIES = (
    "gauss",
    "integers",
    "tiny",
    "huge",
    "extreme",
    "mixed",
    "duplicate",
    "dead",
    "on",
    "rank-1",
    "cancelling",
    "equal-outputs",
    "deep",
    "one-neuron",
    "affine",
    "convolution",
    "composed",
)
MONDEQ_FAMILIES = (
    "gauss",
    "integers",
    "tiny",
    "huge",
    "extreme",
    "mixed",
    "duplicate",
    "dead",
    "on",
    "rank-1",
    "cancelling",
    "equal-outputs",
    "small-m",
    "skew",
    "one-neuron",
)
#: Nonlinearities other than ReLU, each a family of its own.
NONLINEAR = ("leaky_relu", "elu", "sigmoid", "tanh", "arctan", "step", "max_pool")
JOINS = ("identity", "projection", "before", "input", "concatenated", "difference")
REGIONS = ("linf", "linf-clipped", "l1", "l1-clipped", "l2", "l2-clipped", "zonotope", "ellipsoid")  # and polytopes
SHAPES = (*REGIONS, "polytope")


@dataclass(frozen=True, eq=False)
class Case:
    """A question, and its number among those of a seed."""

    seed: int
    number: int
    kind: str
    family: str
    shape: str
    network: FeedForward | MonDEQ
    region: Region

    @property
    def rng(self) -> np.random.Generator:
        """A generator of its own, for what is compared."""
        return np.random.default_rng([self.seed, self.number, 1])

    @property
    def more(self) -> np.random.Generator:
        """Another one, for what was added later."""
        return np.random.default_rng([self.seed, self.number, 2])

    def __str__(self) -> str:
        return f"python -m tests.soundness --seed {self.seed} --case {self.number}  # {self.family}, {self.shape}"


def case(seed: int, number: int) -> Case:
    """The case of a number: every sixth one is a monDEQ, two of thirty have other nonlinearities than ReLU."""
    rng = np.random.default_rng([seed, number])
    kind = "mondeq" if number % 6 == 5 else "feedforward"
    family = str(rng.choice(MONDEQ_FAMILIES if kind == "mondeq" else RELU_FAMILIES))
    shape = str(rng.choice(REGIONS))
    if number % 12 == 7 or number % 30 == 17:
        shape = "polytope"
    if number % 30 == 22:
        family = "branches"
    if number % 30 == 29:
        family = "convolution"
    if number % 30 in (2, 14):
        family, shape = str(rng.choice(NONLINEAR)), str(rng.choice([own for own in REGIONS if own[0] == "l"]))
        network = _nonlinear(rng, family)
        region = region_of(rng, network.input_size, shape, family)
        return Case(seed, number, "nonlinear", family, shape, network, region)
    network = None
    while network is None:  # W that is not monotone in floating point is no monDEQ
        try:
            network = (_mondeq if kind == "mondeq" else _feedforward)(rng, family)
        except NetworkError:
            continue
    return Case(seed, number, kind, family, shape, network, region_of(rng, network.input_size, shape, family))


def _feedforward(rng: np.random.Generator, family: str) -> FeedForward:
    if family == "convolution":
        return _convolutional(rng)
    if family == "branches":
        return branched(rng, str(rng.choice(JOINS)))
    n, K = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    depth = {"deep": 3, "affine": 0}.get(family) or (0 if family == "affine" else int(rng.integers(1, 3)))
    width = {"deep": 3, "one-neuron": 1}.get(family, 6 if n < 3 or depth < 2 else 4)
    sizes = [n, *rng.integers(1 if width == 1 else 2, width + 1, depth), K]
    weights, biases, size = [], [], 1.0
    for layer, (a, b) in enumerate(pairwise(map(int, sizes))):
        last = layer == depth
        W, bias = rng.normal(size=(b, a)), rng.choice([0.0, 1.0], p=[0.2, 0.8]) * rng.normal(size=b)
        if family == "integers":
            W, bias = rng.integers(-2, 3, (b, a)).astype(float), rng.integers(-1, 2, b).astype(float)
        elif family in ("tiny", "huge"):
            W, bias = (array * 10.0 ** (-8 if family == "tiny" else 8) for array in (W, bias))
        elif family == "extreme":
            scale = 10.0 ** rng.uniform(-160, 160)
            scale = scale if 1e-320 < scale * size < 1e250 else 1.0
            size *= scale
            W, bias = scale * W, size * bias
        elif family == "mixed":
            each = 10.0 ** rng.choice([-8, 0, 8], b)
            W, bias = each[:, None] * W, each * bias
        elif family == "duplicate" and not last:
            W[-1], bias[-1] = W[0], bias[0]
        elif family in ("dead", "on") and not last:
            some = rng.random(b) < 0.5
            bias = np.where(some, (-30.0 if family == "dead" else 30.0), bias)
            W[rng.random(b) < 0.2] = 0.0
        elif family == "rank-1":
            W = np.outer(rng.normal(size=b), rng.normal(size=a))
        elif family == "cancelling":
            bias = bias + rng.choice([-1e8, 0.0, 1e8], b)
        if last and family == "equal-outputs":
            W[1], bias[1] = W[0], bias[0]
        weights.append(W)
        biases.append(bias)
    if family == "composed":
        return _composed(rng, weights, biases)
    return FeedForward.dense(weights, biases)


def branched(rng: np.random.Generator, join: str) -> FeedForward:
    """A residual block, or a concatenation or difference of two paths of different depths."""
    n, K = int(rng.integers(1, 3)), int(rng.integers(2, 4))

    def dense(signal: Signal, outputs: int) -> Signal:
        W, b = rng.normal(size=(outputs, signal.node.size)), rng.normal(size=outputs)
        return signal.then(Dense(W, b), (1, outputs))

    x = Signal(Node(n), (1, n))
    z = x if join == "input" else dense(x, 2)
    z = z if join in ("input", "before") else z.then(RELU)
    size = 3 if join == "projection" else z.node.size
    two = dense(dense(z.then(RELU) if join == "before" else z, 2).then(RELU), size)
    if join == "concatenated":
        joined = concatenated([two.then(RELU), dense(z, 1), z], 1)
    elif join == "difference":
        joined = added([two, dense(dense(x, 2).then(LeakyReLU(0.25)), z.node.size)], [1.0, -1.0])
    else:
        joined = added([two, dense(z, 3) if join == "projection" else z], [1.0, 1.0])
    layers, activations = assemble(dense(joined.then(RELU), K).node)
    return FeedForward(layers, activations=activations)


def _nonlinear(rng: np.random.Generator, family: str) -> FeedForward:
    """One or two hidden layers of usual size, or with weights that are large, tiny or whole numbers."""
    n, K, depth = int(rng.integers(1, 4)), int(rng.integers(2, 4)), int(rng.integers(1, 3))
    scale, whole = float(rng.choice([1.0, 1.0, 1e-6, 30.0, 1e6])), rng.random() < 0.2

    def drawn(*shape: int) -> np.ndarray:
        return np.round(rng.normal(size=shape) * 2) if whole else rng.normal(size=shape) * scale

    if family == "max_pool":
        image = (int(rng.integers(1, 3)), 2, int(rng.integers(2, 4)))
        pool = MaxPool(image, (int(rng.integers(1, 3)), 2), (1, int(rng.integers(1, 3))), (0, int(rng.integers(0, 2))))
        size, between = int(np.prod(image)), int(np.prod(pool.output_shape))
        weights, biases = [drawn(size, n), drawn(K, between)], [drawn(size), drawn(K)]
        return FeedForward.dense(weights, biases, activations=[pool])
    parameters = {"leaky_relu": [rng.choice([0.01, 0.5, -0.3, 2.0])], "elu": [rng.choice([1.0, 0.3, 2.0])]}
    sizes = [n, *rng.integers(1, 5, depth).tolist(), K]
    weights, biases = [drawn(b, a) for a, b in pairwise(sizes)], [drawn(b) for b in sizes[1:]]
    return FeedForward.dense(weights, biases, activations=[named(family, parameters.get(family, ()))] * depth)


def _composed(rng: np.random.Generator, weights: list[np.ndarray], biases: list[np.ndarray]) -> FeedForward:
    """Normalisation in front of each matrix, as of a batch."""
    layers = []
    for W, b in zip(weights, biases, strict=True):
        scale, shift = 10.0 ** rng.uniform(-3, 3, W.shape[1]), rng.normal(size=W.shape[1])
        layers.append(Composition((Scaling(scale, shift), Dense(W, b))))
    return FeedForward(tuple(layers))


def _convolutional(rng: np.random.Generator) -> FeedForward:
    first = Convolution(
        rng.normal(size=(2, 1, 2, 2)),
        rng.normal(size=2),
        input_shape=(1, 2, int(rng.integers(2, 4))),
        stride=(1, int(rng.integers(1, 3))),
        padding=(0, int(rng.integers(0, 2))),
    )
    K = int(rng.integers(2, 4))
    return FeedForward((first, Dense(rng.normal(size=(K, first.output_size)), rng.normal(size=K))))


def _convolutional_mondeq(rng: np.random.Generator) -> MonDEQ:
    """One channel of 2 x 2 pixels, as its state dictionary has it."""
    K, layer = int(rng.integers(2, 4)), "mon.linear_module."
    shapes = {"U.weight": (1, 1, 3, 3), "U.bias": 1, "A.weight": (1, 1, 3, 3), "B.weight": (1, 1, 3, 3)}
    arrays = {layer + name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {layer + "g": rng.uniform(0.1, 3), layer + "h": rng.normal() * 3}
    arrays |= {"Wout.weight": rng.normal(size=(K, 1)) * 10, "Wout.bias": rng.normal(size=K)}
    return MonDEQ.from_state_dict(arrays, float(10.0 ** rng.uniform(-2, 0)), input_shape=(1, 2, 2))


def _mondeq(rng: np.random.Generator, family: str) -> MonDEQ:
    if family == "convolution":
        return _convolutional_mondeq(rng)
    n, K, p = int(rng.integers(1, 4)), int(rng.integers(2, 4)), int(rng.integers(1, 7))
    p = 1 if family == "one-neuron" else p
    A, B = rng.normal(size=(p, p)), rng.normal(size=(p, p))
    U, u, C, c = (rng.normal(size=shape) for shape in ((p, n), p, (K, p), K))
    m = {"small-m": 1e-6}.get(family, float(10.0 ** rng.uniform(-2, 1)))
    if family == "integers":
        A, B, U, u, C, c = (rng.integers(-1, 2, a.shape).astype(float) for a in (A, B, U, u, C, c))
        m = 1.0
    elif family == "tiny":
        U, u, C, c = U * 1e-8, u * 1e-8, C * 1e-8, c * 1e-16
    elif family == "huge":
        C, c = C * 1e8, c * 1e8
    elif family == "extreme":
        a = 10.0 ** rng.uniform(-160, 160)
        U, u, C = U * a, u * a, C / a
    elif family == "mixed":
        each = 10.0 ** rng.choice([-8, 0, 8], p)
        U, u, C = each[:, None] * U, each * u, C / each
    elif family == "duplicate" and p > 1:
        A[:, -1], B[:, -1], B[-1], U[-1], u[-1] = A[:, 0], B[:, 0], B[0], U[0], u[0]
    elif family in ("dead", "on"):
        u = np.where(rng.random(p) < 0.5, -30.0 if family == "dead" else 30.0, u)
        U[rng.random(p) < 0.2] = 0.0
    elif family == "rank-1":
        U, C = np.outer(rng.normal(size=p), rng.normal(size=n)), np.outer(rng.normal(size=K), rng.normal(size=p))
    elif family == "cancelling":
        u = u + rng.choice([-1e6, 0.0, 1e6], p)
        c = c + rng.choice([-1e6, 0.0, 1e6], K)
    elif family == "equal-outputs":
        C[1], c[1] = C[0], c[0]
    elif family == "skew":
        B = B * 1e3
    return MonDEQ.from_factors(A, B, U, u, C, c, m)


def region_of(rng: np.random.Generator, size: int, shape: str, family: str) -> Region:
    center = rng.choice([0.0, 1.0], p=[0.2, 0.8]) * rng.normal(size=size)
    radius = float(rng.choice([0.0, 1e-8, 1e6, 0.0625])) if rng.random() < 0.25 else float(10.0 ** rng.uniform(-3, 0.5))
    if family == "integers":
        center, radius = np.round(center), float(rng.choice([0.5, 1.0, 2.0]))
    if shape == "polytope":
        return _polytope(rng, center, radius)
    if shape in ("zonotope", "ellipsoid"):
        G = rng.normal(size=(size, int(rng.integers(1, 4)))) * max(radius, 1e-8)
        if rng.random() < 0.3:
            G[:, -1] = G[:, 0]
        return (Zonotope if shape == "zonotope" else EllipsoidRegion)(center, G)
    norm = {"linf": INFINITY, "l1": 1.0, "l2": 2.0}[shape.partition("-")[0]]
    if not shape.endswith("clipped") and size <= 3:
        return Ball(center, radius, norm)
    lower, upper = (center + sign * radius * rng.choice([0.0, 0.3, 2.0], size) for sign in (-1, 1))
    flat = rng.random(size) < 0.2
    flat[rng.permutation(size)[3:]] = True  # at most three pixels can change
    lower, upper = (np.where(flat, center, side) for side in (lower, upper))
    return Ball(center, radius, norm, lower, upper)


def _polytope(rng: np.random.Generator, center: np.ndarray, radius: float) -> Polytope:
    """A box, of which at most three coordinates are wide, and up to three half-spaces that keep its centre."""
    half = radius * rng.choice([0.0, 0.3, 1.0], len(center))
    half[rng.permutation(len(center))[3:]] = 0.0
    A = rng.normal(size=(int(rng.integers(0, 4)), len(center)))
    room = np.abs(A) @ half * rng.uniform(0.1, 1, len(A)) + 1e-12 * (1 + np.abs(A) @ np.abs(center))
    return Polytope(A, A @ center + room, center - half, center + half)
