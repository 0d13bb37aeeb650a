"""Lipschitz constants of outputs of a feed-forward ReLU network; statement and identities are in README-lipschitz.md.

The set is that of all states: with h_i = A_i x_{i-1} + b_i each neuron has u = 1 and h >= 0, or u = 0 and h <= 0, and
x = u h; backwards g_m = c, r_i = u_i g_i, g_{i-1} = A_i' r_i. The constant is at most the largest t' g_0, ||t|| <= 1.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import zip_longest
from math import prod
from typing import Any

import numpy as np

from tightrope.checker.claims import only, output, region_of, row, rows
from tightrope.checker.file import Certificate
from tightrope.checker.forms import ONE, Form, Quadratic
from tightrope.checker.numbers import Exact, Refused, common, dense, times
from tightrope.checker.regions import Region
from tightrope.checker.relu import Proofs, exact_outputs, is_small
from tightrope.checker.relu_network import Network, Step

NORMS = ("2", "inf")
#: Products of one neuron's numbers that have a coefficient in a file; those with h and x need a region.
OF_NEURONS = ("u", "uu", "h", "uh", "hh", "x", "ux", "hx", "xx", "g", "ug", "gg", "r", "ur", "gr", "rr")
#: Products of one input's d and t.
OF_INPUTS = ("d", "dd", "t", "tt", "dt")
#: Monomials of a gradient that are expanded.
LARGEST = 2_000_000

Polynomial = Counter[frozenset[int]]
Bounds = Sequence[tuple[np.ndarray, np.ndarray]]


# theories ------------------------------------------------------------------------------------------------------------


def upper(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., str | None]:
    """Theory relu-lipschitz."""
    network = Network.read(arrays)
    hidden = range(1, len(network.layers))
    single = [*OF_INPUTS, *(f"{i}.{name}" for i in hidden for name in OF_NEURONS)]
    ends = (f"{side}{i}" for i in hidden for side in "lu")
    region = _region(file, network, "products", "multipliers", *single, *ends)
    proofs = Proofs(network, region) if region is not None else None
    taken = 0

    def prove(_: int, rule: object, layer: int | None = None, **claim: Any) -> str | None:
        nonlocal taken
        if layer is not None:
            if proofs is None or rule == "given":
                raise Refused("layer: its bounds are proven on a region, by a rule without forms")
            return proofs.prove_layer(file, layer, rule)
        number, taken = taken, taken + 1
        part, norm, bound = claim["part"], _norm(claim["norm"]), claim["bound"]
        states = States.read(network, part, region, proofs.bounds if proofs is not None else [])
        if rule == "quadratics":
            form = quadratics(states, norm, rows(file.arrays, single, number))
            form.add(Exact.rational([bound]), ONE)
            proven = form.is_nonnegative()
        elif rule == "intervals":
            proven = bound >= 0 and proven_by_intervals(states, norm) <= (bound if norm == "inf" else bound**2)
        elif rule == "products" and norm == "inf":
            proven = bound >= proven_by_products(states, *(row(file.arrays, n, number) for n in (rule, "multipliers")))
        else:
            raise Refused(f"rule: expected intervals, quadratics, or of the norm inf products, got {rule!r}")
        if not proven:
            raise Refused(f"rule: {rule} do not prove the bound")
        return proofs.arithmetic.by if proofs is not None and proofs.bounds else None

    return prove


def lower(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory relu-lipschitz-points."""
    network = Network.read(arrays)
    region = _region(file, network, "point", "other")

    def prove(number: int, part: object, norm: object, least: Fraction) -> None:
        ends = [row(file.arrays, name, number) for name in ("point", "other")]
        found = quotient(network, part, _norm(norm), ends)
        if region is not None:
            for end in ends:
                region.point(Exact.of(end))
        if least < 0 or found < (least if norm == "inf" else least**2):
            raise Refused("the difference quotient is smaller")

    return prove


def _region(file: Certificate, network: Network, *names: str) -> Region | None:
    """Return the region, None for all inputs, refusing arrays of other names than these and its own."""
    if not file.region:
        only(file, *names)
        return None
    region = region_of(file, *names)
    if region.generators is not None or len(region.centre) != network.inputs:
        raise Refused(f"region: expected a ball of {network.inputs} coordinates")
    return region


def _norm(norm: object) -> str:
    if not isinstance(norm, str) or norm not in NORMS:
        raise Refused(f"norm: expected one of {', '.join(NORMS)}, got {norm!r}")
    return norm


# states --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class States:
    """What is known of a network's states."""

    layers: Sequence[tuple[Exact, Exact]]  # A_i (p_i, p_{i-1}) and b_i (p_i,) of the hidden layers
    c: Exact  # (p_m,) the combination of the last activations
    region: Region | None  # None for all inputs
    bounds: Bounds  # proven l_i <= h_i <= u_i; without a region 0, which decides no u, and no function has h

    @classmethod
    def read(cls, network: Network, part: object, region: Region | None, bounds: Bounds) -> "States":
        """Return the states of an output, or of the difference of a pair [i, j] of them."""
        hidden = len(network.layers) - 1
        if len(bounds) != (hidden if region is not None else 0):
            raise Refused("the bounds of a hidden layer are not proven")
        *layers, (C, _) = map(_affine, network.layers)
        bounds = bounds if region is not None else [(np.zeros(len(b)), np.zeros(len(b))) for _, b in layers]
        return cls(layers, output(C, part), region, bounds)

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return self.layers[0][0].shape[1] if self.layers else len(self.c)

    @cached_property
    def on(self) -> list[np.ndarray]:
        """Whether u = 1 is proven, for each neuron (p_i,) of each layer."""
        return [low > 0 for low, _ in self.bounds]

    @cached_property
    def free(self) -> list[np.ndarray]:
        """Whether u is undecided."""
        return [(low <= 0) & (high >= 0) for low, high in self.bounds]

    @cached_property
    def slopes(self) -> list[tuple[Exact, Exact]]:
        """Intervals of g_0, ..., g_m."""
        found = [(self.c, self.c)]
        for (A, _), on, free in zip(*map(reversed, (self.layers, self.on, self.free)), strict=True):
            low = found[0][0] * Exact.of(on) - (-found[0][0]).positive() * Exact.of(free)
            high = found[0][1] * Exact.of(on) + found[0][1].positive() * Exact.of(free)
            plus, minus = A.T.positive(), (-A.T).positive()
            found.insert(0, (plus @ low - minus @ high, plus @ high - minus @ low))
        return found


def _affine(layer: Sequence[Step]) -> tuple[Exact, Exact]:
    W, b = layer[0].exact
    for step in layer[1:]:
        W, b = times(step.exact[0], W), step.image(b)
    return dense(W), b


def proven_by_intervals(states: States, norm: str) -> Fraction:
    """Return the bound that intervals of the gradient prove; of the norm 2 its square."""
    low, high = states.slopes[0]
    size = abs(low).maximum(abs(high))
    return (size if norm == "inf" else size * size).sum().fraction()


# quadratic functions of single neurons -----------------------------------------------------------------------------


def quadratics(states: States, norm: str, coefficients: Mapping[str, np.ndarray]) -> Quadratic:
    """Return the form least - t'g_0 - q: the bound holds if it is at least 0 where the bound is added to it.

    q is the sum of functions of single neurons and inputs with these coefficients, `least` that of their least values.
    """
    region, depth, n = states.region, len(states.layers), states.inputs
    if not depth:
        raise Refused("rule: a network without hidden layers has a constant gradient; its rule is intervals")
    if region is not None and region.half is None and region.norm != "2":
        raise Refused("region: expected a ball of the norm 2 or inf")
    _check_shapes(states, norm, coefficients)
    q = {name: Exact.of(values) for name, values in coefficients.items() if np.any(values)}
    # Does d have products with others than 1 and u? Then it cannot be minimised out by itself.
    inner = "1.hh" in q or "dt" in q or any(on.any() for on in states.on[:-1])
    V, metric = _directions(states, inner)
    layers, gradient = _forms(states, V)
    d, t = Form({"d": Exact.ones(V.shape[1])}), Form({"t": Exact.ones(n)})
    form = Quadratic(_least_of_inputs(q, n))
    form.add(-Exact.ones(n), gradient, t)
    for variable, one in (("d", d), ("t", t)):
        if variable in q:
            form.add(-q[variable], one)
    if "dt" in q:
        form.add(-q["dt"], d, t)
    if "dd" in q:
        form.add(-(metric * q["dd"]), d, d)
    if "tt" in q:
        form.add(-(Exact.ones(n) * q["tt"]), t, t)
    for i, layer in enumerate(layers, start=1):
        own = {name: q[f"{i}.{name}"] for name in OF_NEURONS if f"{i}.{name}" in q}
        for name, values in own.items():
            form.add(-values, layer[name[-1]], layer[name[0]] if len(name) == 2 else None)
        form.add(Exact.rational([_least_of_neurons(states, i, own)]), ONE)
    for variable in ("t",) if inner else ("t", "d"):
        form.minimise(variable)
    return form


def _check_shapes(states: States, norm: str, coefficients: Mapping[str, np.ndarray]) -> None:
    n, region = states.inputs, states.region
    box = region is not None and region.half is not None
    sizes = {"t": n, "tt": n} if norm == "inf" else {"tt": 1}
    if region is not None:
        sizes |= {"d": n, "dd": n} if box else {"dd": 1}
    if box and norm == "inf":
        sizes["dt"] = n
    for i, (_, b) in enumerate(states.layers, start=1):
        absent = {"h", "x"} if region is None else {"x"} if i == len(states.layers) else set()
        sizes |= {f"{i}.{name}": len(b) for name in OF_NEURONS if not set(name) & absent}
    for name, values in coefficients.items():
        if values.shape != (sizes.get(name),):
            raise Refused(f"{name}: expected {sizes.get(name, 'no')} coefficients, got the shape {values.shape}")


def _directions(states: States, inner: bool) -> tuple[Exact, Exact]:
    """Return V with A_1 (x - centre) = V d, of d in a unit ball, and M with d'M d in the place of |d|^2."""
    A, region = states.layers[0][0], states.region
    if region is None:
        return Exact.zeros(len(A), 0), Exact.zeros(0)
    V = A * region.radius if region.half is None else A * region.half.row()
    if region.half is None and inner and V.shape[1] > len(A):  # d = V'w and what V does not see
        V = V @ V.T
        return V, V
    return V, Exact.ones(V.shape[1])


def _forms(states: States, V: Exact) -> tuple[list[dict[str, Form]], Form]:
    """Return the forms of u, h, x, g and r of every layer, and of g_0, in 1, d, and the u, x, r that are not known."""
    layers: list[dict[str, Form]] = []
    for i, ((A, b), on, free) in enumerate(zip(states.layers, states.on, states.free, strict=True), start=1):
        layer = {"u": Form.constant(Exact.of(on)) + Form({f"u{i}": Exact.of(free)})}
        if states.region is not None:
            below = Form({"d": V}) + Form.constant(A @ states.region.centre) if i == 1 else A @ layers[-1]["x"]
            layer["h"] = below + Form.constant(b)
            layer["x"] = _gated(f"x{i}", Exact.of(free), on, layer["h"])
        layers.append(layer)
    g = Form.constant(states.c)
    for i in range(len(layers), 0, -1):
        layer, on, (low, high) = layers[i - 1], states.on[i - 1], states.slopes[i]
        seen = states.free[i - 1] & ((low.signs != 0) | (high.signs != 0))
        layer["g"] = g
        layer["r"] = states.c * layer["u"] if i == len(layers) else _gated(f"r{i}", Exact.of(seen), on, g)
        g = states.layers[i - 1][0].T @ layer["r"]
    return layers, g


def _gated(name: str, unknown: Exact, on: np.ndarray, form: Form) -> Form:
    """Return a form where a neuron is on, a variable where it is unknown, else 0."""
    found = Form({name: unknown})
    return found + Exact.of(on) * form if on.any() else found


def _least_of_inputs(q: Mapping[str, Exact], n: int) -> Fraction:
    """Return the least sum of the functions of d and t."""
    none, one = Fraction(0), Fraction(1)
    values = {name: q[name].fractions() for name in OF_INPUTS if name in q}
    if "dt" in q:
        rows = (values.get(name, [none] * n) for name in OF_INPUTS)
        return sum((least_on_square(*row) for row in zip(*rows, strict=True)), none)
    # On a ball the square is |d|^2 itself, between 0 and 1: as for one d in [-1, 1].
    pairs = (zip_longest(values.get(2 * name, []), values.get(name, []), fillvalue=none) for name in ("d", "t"))
    return sum((least_between(a, b, -one, one) for pair in pairs for a, b in pair), none)


def _least_of_neurons(states: States, i: int, own: Mapping[str, Exact]) -> Fraction:
    """Return the least sum of the functions of the neurons of layer i over both u of those that are free."""
    count, none = len(states.layers[i - 1][1]), Fraction(0)
    ends = [end.fractions() for end in (*map(Exact.of, states.bounds[i - 1]), *states.slopes[i])]
    rows = [own[name].fractions() if name in own else [none] * count for name in OF_NEURONS]
    total = none
    for on, free, h_low, h_high, g_low, g_high, *q in zip(
        states.on[i - 1], states.free[i - 1], *ends, *rows, strict=True
    ):
        if not any(q):
            continue
        u, uu, h, uh, hh, x, ux, hx, xx, g, ug, gg, r, ur, gr, rr = q
        found = []
        if not on:  # u = 0, x = 0, r = 0
            found += [least_between(hh, h, h_low, min(h_high, none)) + least_between(gg, g, g_low, g_high)]
        if on or free:  # u = 1, x = h, r = g
            value = least_between(hh + hx + xx, h + uh + x + ux, max(h_low, none), h_high)
            found += [u + uu + value + least_between(gg + gr + rr, g + ug + r + ur, g_low, g_high)]
        total += min(found)
    return total


def least_between(a: Fraction, b: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """Return the least a z^2 + b z on [low, high].

    Examples
    --------
    >>> least_between(Fraction(1), Fraction(-1), Fraction(0), Fraction(1))
    Fraction(-1, 4)
    """
    found = min((a * low + b) * low, (a * high + b) * high)
    if a > 0 and 2 * a * low < -b < 2 * a * high:
        return -b * b / (4 * a)
    return found


def least_on_square(d: Fraction, dd: Fraction, t: Fraction, tt: Fraction, dt: Fraction) -> Fraction:
    """Return the least value of the function with these coefficients for d and t in [-1, 1].

    It is inside only where the function is strictly convex; else on the boundary.
    """
    one = Fraction(1)
    found = [tt + sign * t + least_between(dd, d + sign * dt, -one, one) for sign in (-one, one)]
    found += [dd + sign * d + least_between(tt, t + sign * dt, -one, one) for sign in (-one, one)]
    det = 4 * dd * tt - dt * dt
    if det > 0 and dd > 0:
        at = ((dt * t - 2 * tt * d) / det, (dt * d - 2 * dd * t) / det)
        if max(map(abs, at)) < 1:
            found.append((d * at[0] + t * at[1]) / 2)
    return min(found)


# products of literals ------------------------------------------------------------------------------------------------


def proven_by_products(states: States, literals: np.ndarray, multipliers: np.ndarray) -> Fraction:
    """Return the bound of the norm inf that products (R, k) of literals with multipliers (R,) >= 0 prove.

    A literal v + 1 is the variable v, -(v + 1) is one minus it, 0 is 1; variables are (1 + t_j) / 2 of the inputs, then
    the neurons' u, layer after layer. All are 0 or 1 where t'g_0 is largest.
    """
    count = states.inputs + sum(len(b) for _, b in states.layers)
    fits = literals.ndim == 2 and literals.dtype.kind in "iu" and multipliers.shape == literals.shape[:1]
    if not fits or literals.shape[1] > 6 or (literals.size and np.abs(literals.astype(np.int64)).max() > count):
        raise Refused(f"products: expected rows of at most 6 literals of {count} variables, and as many multipliers")
    weights = Exact.of(multipliers)
    if (weights.signs < 0).any():
        raise Refused("multipliers: one is negative")
    polynomial, unit = _gradient(states)
    scale = common(unit, weights.scale)
    rest = Counter({monomial: -value * int(unit / scale) for monomial, value in polynomial.items()})
    for product, weight in zip(literals.tolist(), weights.over(scale).tolist(), strict=True):
        terms: Polynomial = Counter({frozenset(): -weight})
        for literal in filter(None, product):
            longer: Polynomial = Counter()
            for monomial, value in terms.items():
                longer[monomial] += value if literal < 0 else 0
                longer[monomial | {abs(literal) - 1}] += value if literal > 0 else -value
            terms = longer
        rest.update(terms)
    # bound + rest >= 0: a monomial is between 0 and 1
    return -scale * (rest.pop(frozenset(), 0) + sum(value for value in rest.values() if value < 0))


def _gradient(states: States) -> tuple[Polynomial, Fraction]:
    """Return t'g_0 as integers by monomial, and their unit; the variables are those of :func:`proven_by_products`."""
    sizes = [states.inputs, *(len(b) for _, b in states.layers)]
    if prod(sizes) > LARGEST:
        raise Refused(f"network: its gradient has more than {LARGEST} monomials")
    starts = np.cumsum([0, *sizes]).tolist()
    unit = states.c.scale * prod((A.scale for A, _ in states.layers), start=Fraction(1))
    # Backwards: g_i of a neuron as a polynomial in the u of the layers above it.
    front: list[Polynomial] = [Counter({frozenset(): int(value)} if value else {}) for value in states.c.integers]
    for i in range(len(states.layers), 0, -1):
        on, free, gated = states.on[i - 1], states.free[i - 1], []
        for j, known in enumerate(front):
            own = {starts[i] + j} if free[j] else set()
            gated.append({monomial | own: value for monomial, value in known.items()} if free[j] or on[j] else {})
        front = [Counter() for _ in range(sizes[i - 1])]
        for column, total in zip(states.layers[i - 1][0].integers.T.tolist(), front, strict=True):
            for weight, polynomial in zip(column, gated, strict=True):
                for monomial, value in polynomial.items() if weight else ():
                    total[monomial] += weight * value
    found: Polynomial = Counter()
    for k, polynomial in enumerate(front):
        for monomial, value in polynomial.items():
            found[monomial | {k}] = 2 * value
            found[monomial] -= value
    return found, unit


# lower bounds ----------------------------------------------------------------------------------------------------


def quotient(network: Network, part: object, norm: str, ends: Sequence[np.ndarray]) -> Fraction:
    """Return |F(x) - F(y)| / ||x - y|| at two points, of the norm 2 its square; F an output or a difference of two."""
    if not is_small(network):
        raise Refused("network: it is too large for exact numbers")
    x, y = map(Exact.of, ends)
    if not x.shape == y.shape == (network.inputs,):
        raise Refused(f"point, other: expected {network.inputs} coordinates")
    step, rise = abs(x - y), exact_outputs(network, x) - exact_outputs(network, y)
    value = output(rise, part).fraction()
    size = max(step.fractions()) if norm == "inf" else (step * step).sum().fraction()
    if not size:
        raise Refused("point, other: they are equal")
    return abs(value) / size if norm == "inf" else value**2 / size
