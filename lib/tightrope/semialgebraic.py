"""Sets and functions as products of affine forms (one small class describes every problem).

With homogeneous coordinates v = (1, variables), a constraint is `sum_r w_r f_r(v) g_r(v) {= or >=} 0` with affine f
and g. An affine form is a row of a sparse matrix: (k, N) rows act on v of shape (N,). Forms are built with ordinary
sparse arithmetic, so that code reads like the formula:

>>> space = Space(z=2, d=3)
>>> h = W @ space["z"] + V @ space["d"] + space.constant(b)      # doctest: +SKIP
>>> constraints = relu_graph(space, space["z"], h)               # doctest: +SKIP
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError

Forms: TypeAlias = sp.csr_array  # (k, N): k affine forms on homogeneous coordinates


class Space:
    """Named blocks of variables behind the homogenising coordinate 1.

    `Space(z=87, d=784)` has N = 872 coordinates: 1, then z, then d.
    """

    def __init__(self, **blocks: int) -> None:
        self.slices: dict[str, slice] = {}
        start = 1
        for name, size in blocks.items():
            self.slices[name] = slice(start, start + size)
            start += size
        self.size = start

    def __getitem__(self, block: str) -> Forms:
        """The coordinates of one block as forms, (size of the block, N)."""
        where = self.slices[block]
        return sp.eye_array(where.stop - where.start, self.size, k=where.start, format="csr")

    @property
    def sizes(self) -> dict[str, int]:
        """The number of variables of each block."""
        return {name: where.stop - where.start for name, where in self.slices.items()}

    def constant(self, values: np.ndarray | float) -> Forms:
        """Constant forms, (k, N), with the given values (k,)."""
        values = np.atleast_1d(np.asarray(values, float))
        return sp.csr_array(
            (values, (np.arange(len(values)), np.zeros(len(values), int))), shape=(len(values), self.size)
        )

    def point(self, **values: np.ndarray | float) -> np.ndarray:
        """Homogeneous coordinates (..., N) of a point given by its blocks (..., block size), 0 where left out."""
        v = np.zeros((*np.broadcast_shapes(*(np.shape(value)[:-1] for value in values.values())), self.size))
        v[..., 0] = 1
        for name, where in self.slices.items():
            v[..., where] = values.get(name, 0.0)
        return v

    def blocks(self, v: np.ndarray) -> dict[str, np.ndarray]:
        """The blocks (..., block size) of homogeneous coordinates (..., N)."""
        return {name: v[..., where] for name, where in self.slices.items()}


def embedding(small: Space, large: Space) -> sp.csr_array:
    """The lift (N, N') of a space into a larger one that has its blocks too: coordinates keep their names."""
    blocks = [small.constant(1).T @ large.constant(1), *(small[name].T @ large[name] for name in small.slices)]
    return sp.csr_array(sum(blocks))


@dataclass(frozen=True, eq=False)
class Products:
    """k functions sum_r weights[k, r] * left_r(v) * right_r(v).

    `left` and `right` are forms (P, N), `weights` (k, P) sparse; without weights each product is a function of its own.
    """

    left: Forms
    right: Forms
    weights: sp.csr_array

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """Values (..., k) at points v (..., N) in homogeneous coordinates."""
        v2 = np.atleast_2d(v)
        values = (self.weights @ ((self.left @ v2.T) * (self.right @ v2.T))).T
        return values.reshape(*v.shape[:-1], -1)

    def __len__(self) -> int:
        return self.weights.shape[0]

    def under(self, lift: sp.csr_array) -> "Products":
        """Return these functions of v = lift v' as functions of v' (N'); lift is (N, N')."""
        return Products(sp.csr_array(self.left @ lift), sp.csr_array(self.right @ lift), self.weights)


def products(left: Forms, right: Forms, weights: sp.sparray | None = None) -> Products:
    """Products of forms; one row of `left` or `right` (1, N) is used against every row of the other."""
    left, right = sp.csr_array(left), sp.csr_array(right)
    count = max(left.shape[0], right.shape[0])
    if left.shape[1] != right.shape[1] or not {left.shape[0], right.shape[0]} <= {1, count}:
        raise InputError(f"left, right: {left.shape} and {right.shape} do not match; give as many forms in each.")
    repeat = sp.csr_array(np.ones((count, 1)))
    if left.shape[0] != count:
        left = sp.csr_array(repeat @ left)
    if right.shape[0] != count:
        right = sp.csr_array(repeat @ right)
    weights = sp.eye_array(count, format="csr") if weights is None else sp.csr_array(weights)
    return Products(left, right, weights)


@dataclass(frozen=True, eq=False)
class Constraint:
    """A named group of constraints `body(v) = 0` (equality) or `body(v) >= 0`."""

    name: str
    body: Products
    equality: bool = False

    def violation(self, v: np.ndarray) -> np.ndarray:
        """How far each constraint of the group is violated at v (..., N): (..., k), 0 where it holds."""
        values = self.body(v)
        return np.abs(values) if self.equality else np.maximum(-values, 0)

    def under(self, lift: sp.csr_array) -> "Constraint":
        """Return this constraint on v = lift v' as one on v'; lift is (N, N')."""
        return Constraint(self.name, self.body.under(lift), self.equality)


def relu_graph(space: Space, z: Forms, h: Forms) -> list[Constraint]:
    """z = ReLU(h): z (z - h) = 0, z >= 0, z - h >= 0 (equation 1 of chen2021-mondeq)."""
    one = space.constant(1)
    return [
        Constraint("z (z - h) = 0", products(z, z - h), equality=True),
        Constraint("z >= 0", products(z, one)),
        Constraint("z - h >= 0", products(z - h, one)),
    ]


def subgradient_graph(space: Space, s: Forms, h: Forms) -> list[Constraint]:
    """s in the subgradient of ReLU at h: s (1 - s) >= 0, s h >= 0, (s - 1) h >= 0 (equation 5 of chen2021-mondeq)."""
    one = space.constant(np.ones(s.shape[0]))
    return [
        Constraint("s (1 - s) >= 0", products(s, one - s)),
        Constraint("s h >= 0", products(s, h)),
        Constraint("(s - 1) h >= 0", products(s - one, h)),
    ]


def unit_box(space: Space, d: str = "d") -> list[Constraint]:
    """-1 <= d <= 1 of a block d as 1*1 - d_j d_j >= 0: no column of its own for 1 - d and 1 + d."""
    n = space.sizes[d]
    weights = sp.hstack([sp.csr_array(np.ones((n, 1))), -sp.eye_array(n)], format="csr")
    forms = sp.vstack([space.constant(1), space[d]], format="csr")
    return [Constraint(f"1 - {d}_j^2 >= 0", products(forms, forms, weights))]


def unit_l2_ball(space: Space, d: str = "d") -> list[Constraint]:
    """||d||_2 <= 1 of a block d as 1*1 - sum_j d_j d_j >= 0."""
    return [at_most_one(f"1 - |{d}|^2 >= 0", space, space[d], space[d])]


def at_most_one(name: str, space: Space, left: Forms, right: Forms) -> Constraint:
    """1*1 - sum_j left_j right_j >= 0."""
    one = space.constant(1)
    sides = sp.vstack([one, left], format="csr"), sp.vstack([one, right], format="csr")
    return Constraint(name, products(*sides, sp.csr_array(np.r_[1.0, -np.ones(left.shape[0])][None])))


def unit_l1_ball(space: Space) -> list[Constraint]:
    """||d||_1 <= 1 of a block d through a block e >= |d| with sum e <= 1.

    e_j^2 - d_j^2 >= 0, e_j (1 - sum e) >= 0, e >= 0, and what these imply for points but not for moment matrices:
    e_j (1 - e_j) >= 0 (without it the moments of e are unbounded), the L2 ball and the box.
    """
    d, e, one = space["d"], space["e"], space.constant(1)
    n = d.shape[0]
    slack = one - sp.csr_array(np.ones((1, n))) @ e
    difference = sp.hstack([sp.eye_array(n), -sp.eye_array(n)], format="csr")
    both = sp.vstack([e, d], format="csr")
    return [
        Constraint("e_j^2 - d_j^2 >= 0", products(both, both, difference)),
        Constraint("e_j (1 - sum e) >= 0", products(e, slack)),
        Constraint("e_j (1 - e_j) >= 0", products(e, space.constant(np.ones(n)) - e)),
        Constraint("e_j >= 0", products(e, one)),
        *unit_l2_ball(space),
        *unit_box(space),
    ]


def interval(space: Space, x: Forms, lower: np.ndarray, upper: np.ndarray, name: str) -> list[Constraint]:
    """lower <= x <= upper as (x - lower)(upper - x) = -x^2 + (lower + upper) x - lower upper >= 0, less rounding."""
    k = x.shape[0]
    one = space.constant(np.ones(k))
    left = sp.vstack([x, one, one], format="csr")
    right = sp.vstack([x, x, one], format="csr")
    # The sum and the product are off by u times their sizes, at |x| <= max(|lower|, |upper|).
    constant = 2 * np.finfo(float).eps * (np.abs(lower) + np.abs(upper)) ** 2 - lower * upper
    weights = sp.hstack([-sp.eye_array(k), sp.diags_array(lower + upper), sp.diags_array(constant)], format="csr")
    return [Constraint(f"({name} - lower)(upper - {name}) >= 0", products(left, right, weights))]


def half_spaces(
    space: Space, d: Forms, rows: np.ndarray, offsets: np.ndarray, z: Forms, pairs: bool | None = None
) -> list[Constraint]:
    """rows d <= offsets, times 1 and times each z_i >= 0; with `pairs` also times each other and 1 - d, 1 + d.

    The products with 1 and z keep the block of d diagonal; those of pairs make a slab |a'd| <= t known to second order,
    at the price of a dense block of d. Default: pairs where there are at most 64 coordinates and 16 rows.
    """
    k, n = rows.shape
    one = space.constant(1)
    slack = space.constant(offsets) - sp.csr_array(rows) @ d
    p = z.shape[0]
    constraints = [
        Constraint("offset - row d >= 0", products(slack, one)),
        Constraint("(offset - row d) z >= 0", products(slack[np.repeat(np.arange(k), p)], z[np.tile(np.arange(p), k)])),
    ]
    if pairs if pairs is not None else (n <= 64 and k <= 16):
        box = sp.vstack([space.constant(np.ones(n)) - d, space.constant(np.ones(n)) + d], format="csr")
        i, j = np.triu_indices(k, 1)
        left = sp.vstack([slack[i], slack[np.repeat(np.arange(k), 2 * n)]], format="csr")
        right = sp.vstack([slack[j], box[np.tile(np.arange(2 * n), k)]], format="csr")
        constraints.append(Constraint("(offset - row d)(offset - row d, 1 - d, 1 + d) >= 0", products(left, right)))
    return constraints
