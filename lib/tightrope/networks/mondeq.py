"""Monotone deep equilibrium networks (monDEQ): weights, equilibrium, and derivative at the equilibrium."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tightrope.errors import ConvergenceError, NetworkError
from tightrope.networks.arrays import PathOrName, batch, hash_arrays, read_npz, read_state_dict, required, weight
from tightrope.networks.convolutional_mondeq import is_convolutional, matrices
from tightrope.networks.splitting import peaceman_rachford, peaceman_rachford_step, pivoting

#: Relative slack within which a stated m may exceed the measured one: m is often rounded where it is printed.
MONOTONICITY_SLACK = 1e-9
EPS = np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class MonDEQ:
    """The network ``F(x) = C z + c`` with the equilibrium ``z = ReLU(W z + U x + u)``.

    The equilibrium exists and is unique because I - W is strongly monotone: ``v'(I - W)v >= m ||v||^2`` for all v, with
    m > 0. That is checked here. The shapes are W (p, p), U (p, p0), u (p,), C (K, p) and c (K,); m, a constant with
    ``0 < m <= lambda_min(I - (W + W') / 2)``, is the largest if left out; the name is for messages and tables.

    Examples
    --------
    >>> network = MonDEQ(W=[[-1.0]], U=[[2.0]], u=[0.0], C=[[1.0], [0.0]], c=[0.0, 0.5])
    >>> network.m, network.equilibrium([3.0]).round(6), network.predict([3.0])
    (2.0, array([3.]), 0)
    """

    W: np.ndarray
    U: np.ndarray
    u: np.ndarray
    C: np.ndarray
    c: np.ndarray
    m: float = None  # type: ignore[assignment]  # a number once the network is made
    name: str = ""

    def __post_init__(self) -> None:
        p = len(weight("W", self.W, (None, None)))
        for field, shape in (("W", (p, p)), ("U", (p, None)), ("u", (p,)), ("C", (None, p))):
            object.__setattr__(self, field, weight(field, getattr(self, field), shape))
        object.__setattr__(self, "c", weight("c", self.c, (len(self.C),)))
        object.__setattr__(self, "m", self._checked_m())

    def _checked_m(self) -> float:
        lambda_min = float(np.linalg.eigvalsh(np.eye(self.width) - (self.W + self.W.T) / 2)[0])
        # Below this an eigenvalue of I - W cannot be told from zero in floating point.
        noise = 1e-12 * self.lipschitz
        if lambda_min <= noise:
            raise NetworkError(
                f"W is not monotone: the smallest eigenvalue of I - (W + W')/2 is {lambda_min:.6g}; it must be "
                "positive. Build W as (1 - m) I - A'A + B - B' with m > 0 (MonDEQ.from_factors)."
            )
        if self.m is None:
            return lambda_min
        m = float(weight("m", np.ravel(self.m), (1,))[0])
        if not 0 < m <= lambda_min + MONOTONICITY_SLACK * max(lambda_min, noise):
            raise NetworkError(
                f"m is {m:.12g}; it must be positive and at most {lambda_min:.12g}, the smallest eigenvalue "
                "of I - (W + W')/2. Leave m out to use that."
            )
        return m

    @property
    def proven_m(self) -> float:
        """A number below the true constant of strong monotonicity: m less its slack and an eigenvalue's rounding."""
        noise = 4 * self.width * np.finfo(float).eps * self.lipschitz / self.m
        return self.m * (1 - 2 * MONOTONICITY_SLACK - min(0.5, noise))

    def after(self, center: np.ndarray, G: np.ndarray) -> "MonDEQ":
        """Return the network w -> F(center + G w), for center (p0,) and G (p0, n)."""
        return MonDEQ(self.W, self.U @ G, self.U @ center + self.u, self.C, self.c, self.m)

    # construction ---------------------------------------------------------------------------------

    @classmethod
    def from_factors(
        cls,
        A: np.ndarray,
        B: np.ndarray,
        U: np.ndarray,
        u: np.ndarray,
        C: np.ndarray,
        c: np.ndarray,
        m: float,
        name: str = "",
    ) -> "MonDEQ":
        """Build ``W = (1 - m) I - A'A + B - B'`` from A of shape (any, p) and B of shape (p, p)."""
        A = weight("A", A, (None, None))
        p = A.shape[1]
        B = weight("B", B, (p, p))
        m = _positive(m)
        return cls((1 - m) * np.eye(p) - _gram(A) + B - B.T, U, u, C, c, m, name)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], m: Any = None, name: str = "", source: object = "the file"
    ) -> "MonDEQ":
        """Build from a mapping with the keys W, U, u, C, c or A, B, U, u, C, c, and m if it is not given."""
        m = arrays.get("m") if m is None else m
        U, u, C, c = required(arrays, ("U", "u", "C", "c"), source)
        if "W" in arrays:
            return cls(arrays["W"], U, u, C, c, m, name)
        A, B = required(arrays, ("A", "B"), source)
        if m is None:
            raise NetworkError(
                f"{source} has A and B but not m, from which W = (1 - m) I - A'A + B - B'. Give m=... or --m."
            )
        return cls.from_factors(A, B, U, u, C, c, m, name)

    @classmethod
    def from_npz(cls, path: PathOrName, m: float | None = None) -> "MonDEQ":
        """Read an .npz file (keys as in :meth:`from_arrays`); m if the file does not have it."""
        return cls.from_arrays(read_npz(path), m, Path(path).stem, path)

    @classmethod
    def from_state_dict(
        cls,
        source: Mapping[str, object] | PathOrName,
        m: float,
        name: str = "",
        *,
        input_shape: tuple[int, int, int] | None = None,
    ) -> "MonDEQ":
        """Read a torch state dictionary with the keys of locuslab/monotone_op_net.

        It has one dense layer, or convolutions, which become matrices
        (:mod:`tightrope.networks.convolutional_mondeq`); those need the `input_shape` (channels, height, width).
        """
        arrays = read_state_dict(source)
        where = "the state dictionary" if isinstance(source, Mapping) else source
        if is_convolutional(arrays):
            return cls(*matrices(arrays, _positive(m), input_shape, where), m, name)
        layer, out = "mon.linear_module.", "Wout."
        keys = (*(layer + k for k in ("A.weight", "B.weight", "U.weight", "U.bias")), out + "weight", out + "bias")
        A, B, U, u, C, c = required(arrays, keys, where)
        if input_shape is not None:
            raise NetworkError(f"input_shape (--input-shape): {where} has no convolutions; leave it out.")
        return cls.from_factors(A, B, U, u, C, c, m, name)

    def to_npz(self, path: PathOrName) -> None:
        """Write W, U, u, C, c and m in float64, so that :meth:`from_npz` gives the same network back."""
        np.savez_compressed(path, W=self.W, U=self.U, u=self.u, C=self.C, c=self.c, m=self.m)

    # facts ----------------------------------------------------------------------------------------

    @property
    def input_size(self) -> int:
        """p0, the number of inputs."""
        return self.U.shape[1]

    @property
    def width(self) -> int:
        """p, the number of hidden neurons."""
        return len(self.W)

    @property
    def classes(self) -> int:
        """K, the number of labels."""
        return len(self.C)

    @cached_property
    def lipschitz(self) -> float:
        """L = ||I - W||_2, the Lipschitz constant of the monotone part."""
        return float(np.linalg.norm(np.eye(self.width) - self.W, 2))

    @cached_property
    def _resolvent(self) -> tuple[np.ndarray, np.ndarray, float]:
        """G = I - W, V = (I + alpha G)^-1 and the step alpha: factored once, used by every call."""
        G = np.eye(self.width) - self.W
        alpha = peaceman_rachford_step(G)
        return G, np.linalg.inv(np.eye(self.width) + alpha * G), alpha

    @property
    def peaceman_rachford_step(self) -> float:
        """alpha, the step with which the Peaceman-Rachford iteration contracts fastest."""
        return self._resolvent[2]

    def sha256(self) -> str:
        """Return the SHA-256 of the weights and m; the name does not enter."""
        return hash_arrays({"W": self.W, "U": self.U, "u": self.u, "C": self.C, "c": self.c, "m": np.array(self.m)})

    def __repr__(self) -> str:
        return f"MonDEQ({self.name!r}, {self.input_size} -> {self.width} -> {self.classes}, m={self.m:.6g})"

    # evaluation -----------------------------------------------------------------------------------

    def preactivation(self, x: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Return h = W z + U x + u for x (p0,) or (N, p0) and z (p,) or (N, p)."""
        return np.asarray(z) @ self.W.T + np.asarray(x) @ self.U.T + self.u

    def equilibrium(
        self, x: ArrayLike, *, tolerance: float = 1e-10, max_iterations: int | None = None, z0: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the equilibrium z = ReLU(W z + U x + u), (p,) or (N, p), of inputs x (p0,) or (N, p0).

        The largest residual ``||z - ReLU(W z + U x + u)||`` of a row is at most the tolerance times max(1, largest
        ||z||); rows whose ``U x + u`` is small are scaled up first. The distance to the equilibrium is then at most
        ``1 + ||W|| / m`` times the residual. z0 is where to start, (p,) or (N, p); zero if left out.

        `max_iterations` are of Peaceman-Rachford splitting, and it is a ConvergenceError if they do not reach the
        tolerance. If left out, what 1 000 do not reach, as happens for m near 0, is solved by pivoting, to the rounding
        of one linear system.
        """
        rows, single = batch("x", x, self.input_size)
        b, exponents = _scaled(rows @ self.U.T + self.u)
        start = np.zeros_like(b) if z0 is None else np.broadcast_to(batch("z0", z0, self.width)[0], b.shape)
        start = np.ldexp(start, -exponents)
        try:
            z = peaceman_rachford(
                *self._resolvent, b, lambda h: np.maximum(h, 0.0), start, tolerance, max_iterations or 1_000
            )
        except ConvergenceError:
            if max_iterations is not None:
                raise
            z = np.array([pivoting(self._resolvent[0], row) for row in b])
        z = np.ldexp(z, exponents)
        return z[0] if single else z

    def equilibrium_error(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """A bound of ||z - z*|| for the equilibrium z* of x, (N,) for rows x (N, p0) and z (N, p)."""
        sizes = np.abs(x) @ np.abs(self.U).T + np.abs(self.u)
        rounding = (self.input_size + 3) * EPS * np.hypot.reduce(sizes, axis=-1)
        return self.distance(z, x @ self.U.T + self.u) + rounding / self.proven_m

    def distance(self, z: np.ndarray, b: np.ndarray) -> np.ndarray:
        """A bound of ||z - z*|| for the solution z* of z = ReLU(W z + b): (N,) for rows z and b (N, p), or a number.

        z - r with r = z - ReLU(W z + b) is the solution for the bias b + W r, and m ||z - z'|| is at most the distance
        of the biases. The residual is evaluated in float64, with a rounding of its own.
        """
        r = z - np.maximum(z @ self.W.T + b, 0)
        sizes = np.abs(z) @ np.abs(self.W).T + np.abs(b) + np.abs(z)
        off = np.hypot.reduce(r, axis=-1) + (self.width + 4) * EPS * np.hypot.reduce(sizes, axis=-1)
        return off * (1 + np.linalg.norm(self.W, 2) / self.proven_m) * (1 + 1e-9)

    def logits(self, x: ArrayLike, **options: Any) -> np.ndarray:
        """Return F(x) = C z + c, (K,) or (N, K); options go to :meth:`equilibrium`."""
        return self.equilibrium(x, **options) @ self.C.T + self.c

    def margins(self, x: np.ndarray, labels: np.ndarray | int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return F_k - F_label for all k, (N, K) for rows x (N, p0), and how far each can be from its exact value.

        ``labels`` is one for all rows or one for each, (N,); options go to :meth:`equilibrium`.
        """
        z = self.equilibrium(x, **options)
        logits, sizes = z @ self.C.T + self.c, (self.width + 3) * EPS * (z @ np.abs(self.C).T + np.abs(self.c))
        rows, own = np.arange(len(z)), np.broadcast_to(labels, len(z))
        apart = np.array([np.hypot.reduce(self.C - self.C[label], axis=1) for label in range(self.classes)])[own]
        error = self.equilibrium_error(x, z)[:, None] * apart * (1 + 1e-9) + sizes + sizes[rows, own][:, None]
        return logits - logits[rows, own][:, None], error

    def predict(self, x: ArrayLike) -> int | np.ndarray:
        """Return the label of the largest logit (the first one on a tie): int, or (N,) for a batch."""
        labels = self.logits(x).argmax(-1)
        return int(labels) if np.ndim(labels) == 0 else labels

    # derivative -----------------------------------------------------------------------------------

    def adjoint(
        self, active: ArrayLike, g: ArrayLike, *, tolerance: float = 1e-10, w0: np.ndarray | None = None
    ) -> np.ndarray:
        """Return w = D (I - W'D)^-1 g, the gradient of ``g'z`` with respect to the bias u at an equilibrium.

        Differentiating z = ReLU(W z + b) gives (I - D W) dz = D db with D = diag(active), hence
        dz = (I - D W)^-1 D db and its transpose above. Then ``w @ U`` is the gradient with respect to x.

        ``active`` (N, p) says which preactivations are positive, g is (N, p); w is zero where not active. The tolerance
        is of the residual, relative to max(1, ||w||), rows whose g is small scaled up first; w0 is where to start.
        """
        # w = D y with y = W'D y + g: w vanishes off the active set and (w - W'w - g) vanishes on it. This is
        # the inclusion of peaceman_rachford with G' in place of G and the projection onto the active
        # coordinates, so the factor V' is at hand and no linear system depends on the active set.
        G, V, alpha = self._resolvent
        D = np.asarray(active, dtype=np.float64)
        g, exponents = _scaled(np.broadcast_to(np.asarray(g, dtype=np.float64), D.shape))
        start = np.zeros_like(g) if w0 is None else np.ldexp(w0, -exponents)
        try:
            w = peaceman_rachford(G.T, V.T, alpha, g, lambda w: w * D, start, tolerance, 1_000)
        except ConvergenceError:  # m is near 0: one linear system a row
            w = np.zeros_like(g)
            for row, on in enumerate(D > 0):
                w[row, on] = np.linalg.solve(G[np.ix_(on, on)].T, g[row, on])
        return np.ldexp(w, exponents)

    def jacobian(self, x: ArrayLike) -> np.ndarray:
        """Return dF/dx = C (I - D W)^-1 D U at the equilibrium, (K, p0) or (N, K, p0).

        Where a preactivation is exactly 0 the network has no derivative; D takes 0 there.
        """
        rows, single = batch("x", x, self.input_size)
        J = self.jacobian_and_error(rows)[0]
        return J[0] if single else J

    def jacobian_and_error(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the Jacobians (N, K, p0) at rows x (N, p0), and how far each entry can be from the exact one.

        The error is infinite where the sign of a preactivation, and so the derivative, is not certain. With the
        residual r = w - D (W'w + g) of an adjoint, ||w - w*|| <= ||r|| / m, since r is zero off the active set.
        """
        z = self.equilibrium(x)
        h = self.preactivation(x, z)
        sizes = z @ np.abs(self.W).T + np.abs(x) @ np.abs(self.U).T + np.abs(self.u)
        off = np.hypot.reduce(self.W, axis=1) * self.equilibrium_error(x, z)[:, None]
        off += (self.width + self.input_size + 3) * EPS * sizes
        changes = np.abs(self.W).sum(1) + np.abs(self.U).sum(1) > 0  # a constant preactivation has no kink
        uncertain = ((np.abs(h) <= off) & changes).any(1)
        active, g = np.repeat(h > 0, self.classes, axis=0), np.tile(self.C, (len(x), 1))
        w = self.adjoint(active, g)
        r = w - active * (w @ self.W + g)
        size = np.abs(w) @ np.abs(self.W) + np.abs(g) + np.abs(w)
        off_w = np.hypot.reduce(r, axis=1) + (self.width + 4) * EPS * np.hypot.reduce(size, axis=1)
        error = (off_w / self.proven_m)[:, None] * np.hypot.reduce(self.U, axis=0)
        error += (self.width + 2) * EPS * (np.abs(w) @ np.abs(self.U))
        shape = len(x), self.classes, self.input_size
        error = np.where(uncertain[:, None, None], np.inf, (error * (1 + 1e-9)).reshape(shape))
        return (w @ self.U).reshape(shape), error


def _scaled(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (N, p) divided by powers of two 2^e, and e (N, 1): small and huge ones have size 1 afterwards.

    Equilibrium and adjoint are positively homogeneous in these right-hand sides, and a power of two rounds nothing.
    """
    exponents: Any = np.frexp(np.abs(rows).max(-1, keepdims=True, initial=0.0))[1]
    exponents = np.where(exponents > 300, exponents, np.minimum(exponents, 0))
    return np.ldexp(rows, -exponents), exponents


def _positive(m: Any) -> float:
    m = float(weight("m", np.ravel(m), (1,))[0])
    if m <= 0:
        raise NetworkError(f"m is {m:.6g}; it must be positive.")
    return m


def _gram(A: np.ndarray) -> np.ndarray:
    """Return A'A (p, p) for A (n, p), row after row.

    The last bits of a BLAS product depend on the processor; those of single products and sums do not. The weights, and
    with them the identity of every row, must be the same on every machine.
    """
    total = np.zeros((A.shape[1], A.shape[1]))
    for row in A:
        total += row[:, None] * row[None, :]
    return total
