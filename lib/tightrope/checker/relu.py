"""Upper bounds of linear forms of a feed-forward ReLU network on a region; README-relu.md has the identity."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tightrope.checker.activations import peaks
from tightrope.checker.claims import EXACT, array, check_labels, region_of, row
from tightrope.checker.file import Certificate
from tightrope.checker.numbers import Exact, Refused, above, common, times
from tightrope.checker.pooling import Pool
from tightrope.checker.regions import Region
from tightrope.checker.relu_network import Network, Other, Sparse, Step
from tightrope.checker.trees import complete, in_leaf

#: Products of a network's proof up to which it is decided in integers; beyond, in floats with an a-priori error.
EXACT_UP_TO = 50_000_000
SLOPE_BITS = 52
UNIT, TINY = 2.0**-53, 2.0**-1070
#: Entries of a batch of forms in floats.
LARGEST = 2**22

#: One slope for the lines above a layer's nonlinearity, and one for those below, each (n,), or (m k,) of max pooling.
Lines = tuple[np.ndarray, np.ndarray]
#: What forms are made of, from the first hidden layer on: a rule, lines, or the forms themselves (rows, n_i).
Given = str | Sequence[Lines] | Sequence[np.ndarray]

RULES = ("interval", "hbox", "deepz", "crown", "crown_0")


# theories ------------------------------------------------------------------------------------------------------------


def linear(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., str]:
    """Theory relu-linear."""
    network = Network.read(arrays, any_activation=True)
    sizes, hidden = network.places, range(1, len(network.layers))
    kinds = ["l", "u", *(f"mu{i}." for i in hidden)]
    kinds += ["mu."] if any(claim.get("rule") == "given" for claim in file.claims) else []
    kinds += ["lower", "upper"] if any(claim.get("rule") == "lines" for claim in file.claims) else []
    kinds += ["sign."] if any("leaves" in claim for claim in file.claims) else []
    proofs = Proofs(network, region_of(file, *(f"{kind}{i}" for kind in kinds for i in hidden)))
    taken = signed = 0

    def prove(_: int, rule: object, layer: int | None = None, leaves: int = 0, **margin: Any) -> str:
        nonlocal taken, signed
        if layer is not None:
            return proofs.prove_layer(file, layer, rule)
        (first, taken), (used, signed) = (taken, taken + max(leaves, 1) * (rule == "given")), (signed, signed + leaves)
        signs = _rows(file, "sign.", sizes, used, leaves) if leaves else None
        given = _forms(file, rule, "mu.", sizes, first, max(leaves, 1))
        if leaves and network.others:
            raise Refused("leaves: phases are of ReLU")
        if leaves and not (signs and complete(np.concatenate(signs, 1))):
            raise Refused("signs: the leaves do not cover all phases")
        form = proofs.margin(margin["label"], margin["target"], max(leaves, 1))
        if wrong := sum(value > margin["bound"] for value in proofs.upper(form, given, signs)):
            raise Refused(
                f"{wrong} of {leaves} leaves do not prove it" if leaves else "the forms do not prove the bound"
            )
        return proofs.arithmetic.by

    return prove


def points(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., str]:
    """Theory relu-point."""
    network, region = Network.read(arrays), region_of(file, "point")

    def prove(number: int, label: int, target: int, least: Fraction) -> str:
        check_labels(label, target, network.sizes[-1])
        check_inputs(network, region)
        low, high, by = enclosed_outputs(network, region.point(Exact.of(row(file.arrays, "point", number))))
        if (low[target] - high[label]).fraction() < least:
            unknown = "" if by == EXACT else ", or not known well enough"
            raise Refused(f"the point's margin is smaller{unknown}")
        return by

    return prove


def _forms(file: Certificate, rule: object, prefix: str, sizes: Sequence[int], first: int, count: int) -> Given:
    """Return a rule, or for the rule "given" rows of the file's forms, for the rule "lines" their slopes."""
    if rule == "given":
        return _rows(file, prefix, sizes, first, count)
    if rule == "lines":
        found = [(array(file.arrays, f"upper{i}"), array(file.arrays, f"lower{i}")) for i in range(1, len(sizes) + 1)]
        numbers = (
            own.shape == (size,) and np.isfinite(own).all() for p, size in zip(found, sizes, strict=True) for own in p
        )
        if not all(numbers):
            raise Refused("lower1, upper1, ...: expected a finite slope for each neuron, or place of a window")
        return found
    if not isinstance(rule, str) or rule not in RULES:
        raise Refused(f"rule: expected given, lines or one of {', '.join(RULES)}, got {rule!r}")
    return rule


def _rows(file: Certificate, prefix: str, sizes: Sequence[int], first: int, count: int) -> list[np.ndarray]:
    """Return rows of the arrays prefix1, prefix2, ... of hidden layers of these sizes."""
    found = []
    for i, size in enumerate(sizes, start=1):
        whole = array(file.arrays, f"{prefix}{i}")
        if whole.ndim != 2 or whole.shape[1] != size or first + count > len(whole):
            raise Refused(f"{prefix}{i}: expected {size} numbers in each of at least {first + count} rows")
        found.append(whole[first : first + count])
        if not np.isfinite(found[-1]).all():
            raise Refused(f"{prefix}{i}: a number is not finite")
    return found


# forms ---------------------------------------------------------------------------------------------------------------


def slopes(rule: str, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which multiple of h a rule proposes for max(h, 0): where its coefficient is positive, and negative."""
    on, free = (low >= 0).astype(float), (low < 0) & (high > 0)
    with np.errstate(over="ignore"):
        chord = on + np.where(free, high / np.where(free, high - low, 1.0), 0.0)
    zero = np.zeros_like(on)
    adaptive = on + (free & (high > -low))
    found = {
        "interval": (zero, zero),
        "hbox": (on, on),
        "deepz": (chord, chord),
        "crown": (chord, adaptive),
        "crown_0": (chord, zero),
    }
    return found[rule]


class ExactForms:
    """Bounds value + form h for each row, in integers."""

    by = EXACT

    def __init__(self, form: np.ndarray) -> None:
        self.form, self.value = Exact.of(form), Exact.zeros(len(form))

    def through(self, layer: Sequence[Step], sizes: Sequence[np.ndarray]) -> None:
        """Go on to what the layer is applied to."""
        for step in reversed(layer):
            W, b = step.exact
            self.value, self.form = self.value + self.form @ b, times(self.form, W)

    def relu(self, low: np.ndarray, high: np.ndarray, given: np.ndarray | Lines | str, other: Other | None) -> None:
        """Go on to the preactivations below ReLU, or another nonlinearity, between low and high (n,) or (rows, n)."""
        A = self.form
        if isinstance(other, Pool):
            A, low, high = A[:, other.owners], low[other.windows.ravel()], high[other.windows.ravel()]
        if isinstance(given, str):
            chosen = np.rint(np.where(A.signs > 0, *slopes(given, low, high)) * 2.0**SLOPE_BITS).astype(int)
            mu = (A * Exact(chosen, Fraction(1, 2**SLOPE_BITS))).shortened()
        elif isinstance(given, tuple):
            mu = (A * Exact.of(np.where(A.signs > 0, *given))).shortened()
        else:
            mu = Exact.of(given).shortened()
        if isinstance(other, Pool):
            unit, ends = common(A.scale, mu.scale), Exact.of([low, high])
            most = Exact(other.peaks(A.over(unit), mu.over(unit), *ends.integers), unit * ends.scale)
            self.value, self.form = self.value + most.sum(1), Exact(other.summed(mu.integers), mu.scale)
            return
        if other is not None:
            self.value, self.form = self.value + peaks(other, A, mu, low, high), mu
            return
        most = Exact.maximum(*(A * end.positive() - mu * end for end in (Exact.of(low), Exact.of(high))))
        kept = np.where((low < 0) & (high > 0) & (most.integers < 0), 0, most.integers)
        self.value, self.form = self.value + Exact(kept.sum(1), most.scale), mu

    def largest(self, region: Region) -> list[Fraction]:
        """Return the bound of each row, forms being of the input."""
        value, reach = self.value + self.form @ region.centre, region.reach(self.form)
        return [v + r for v, r in zip(value.fractions(), reach, strict=True)]


class BallForms(ExactForms):
    """The same where values of nonlinearities are balls."""

    by = "ball arithmetic"


class FloatForms:
    """The same in float64, with the sum `size` of what was added and its a-priori error, as README-relu.md has it.

    The error of A = mu W is of a form of the layer's input, whose entries are at most `sizes`.
    """

    by = "float64 analysis"

    def __init__(self, form: np.ndarray) -> None:
        self.form = np.asarray(form, float)
        self.value, self.size, self.error = (np.zeros(len(form)) for _ in range(3))
        self.sums = 0

    def _add(self, terms: np.ndarray, size: np.ndarray, count: int, tiny: float = 1.0) -> None:
        self.value, self.size, self.sums = self.value + terms, self.size + size, self.sums + 1
        self.error = self.error + 4 * (count + 16) * (UNIT * size + TINY * tiny)

    def through(self, layer: Sequence[Step], sizes: Sequence[np.ndarray]) -> None:
        """Go on to what the layer is applied to; `sizes` bounds the absolute value of each step's input."""
        for step, size in zip(reversed(layer), reversed(sizes), strict=True):
            reach = np.abs(self.form) @ (np.abs(step.bias) + step.forward(size, absolute=True) + 2.0**-1000)
            self._add(self.form @ step.bias, reach, step.terms, 1 + size.sum())
            self.form = step.transposed(self.form)

    def relu(self, low: np.ndarray, high: np.ndarray, given: np.ndarray | Lines | str, pool: Pool | None) -> None:
        """Go on to the preactivations below ReLU or max pooling."""
        A = self.form
        if pool is not None:
            A, low, high = A[:, pool.owners], low[pool.windows.ravel()], high[pool.windows.ravel()]
        lines = slopes(given, low, high) if isinstance(given, str) else given
        mu = A * np.where(A > 0, *lines) if isinstance(lines, tuple) else np.array(lines, float, order="C")
        top, ends = np.maximum(high, 0), np.maximum(np.abs(low), np.abs(high))
        if pool is not None:  # the sums of `summed` are rounded, too
            self._add(pool.peaks(A, mu, low, high).sum(1), ((np.abs(A) + np.abs(mu)) * ends).sum(1), len(low))
            self.form = pool.summed(mu)
            return
        most = np.maximum(A * np.maximum(low, 0) - mu * low, A * top - mu * high)
        most = np.where((low < 0) & (high > 0), np.maximum(most, 0), most)
        self._add(most.sum(1), (np.abs(A) * top + np.abs(mu) * ends).sum(1), low.shape[-1])
        self.form = mu

    def largest(self, region: Region) -> list[Fraction]:
        """Return the bound of each row, forms being of the input."""
        middle, half, centre, radius = around(region)
        size = np.abs(self.form)
        value, reach = self.form @ middle + size @ half, size @ (np.abs(middle) + half)
        if radius is not None:
            most = size.max(1, keepdims=True)
            scaled = size / np.where(most > 0, most, 1)
            norm = radius * most[:, 0] * (np.sqrt((scaled**2).sum(1)) if region.norm == "2" else 1)
            value, reach = np.minimum(value, self.form @ centre + norm), reach + size @ np.abs(centre) + norm
        self._add(value, reach, 2 * len(middle), 1 + (np.abs(middle) + half + np.abs(centre)).sum())
        error = self.error + 4 * self.sums * UNIT * self.size
        if not np.isfinite(self.value + error).all():
            raise Refused("a bound is beyond all measure")
        return [Fraction(v) + Fraction(e) for v, e in zip(self.value.tolist(), error.tolist(), strict=True)]


def around(region: Region) -> tuple[np.ndarray, np.ndarray, np.ndarray, float | None]:
    """Return floats: centre and half-widths (n,) of a box, centre (n,) and radius of a ball or None; both hold it."""
    whole = Exact.rational([region.radius] * len(region.centre))
    low, high = (region.centre + end for end in region.box or (-whole, whole))
    middle, centre = Exact.of(((low + high) * Fraction(1, 2)).floats()), Exact.of(region.centre.floats())
    half = (high - middle).maximum(middle - low).up().floats()
    radius = None if region.norm == "inf" else above(region.radius + abs(region.centre - centre).sum().fraction())
    return middle.floats(), half, centre.floats(), radius


class Proofs:
    """A network on a region, and the bounds of its hidden layers that are proven already, from the first on."""

    def __init__(self, network: Network, region: Region) -> None:
        check_inputs(network, region)
        self.network, self.region = network, region
        self.bounds: list[tuple[np.ndarray, np.ndarray]] = []
        exact = region.generators is not None or network.cost <= EXACT_UP_TO  # in floats, only balls are read
        self.arithmetic: type[ExactForms] | type[FloatForms] = ExactForms if exact else FloatForms
        if len(network.others) > len(network.pools):
            if network.cost > EXACT_UP_TO:
                raise Refused("network: with other nonlinearities than ReLU it is too large to be decided")
            self.arithmetic = BallForms
        self._sizes: dict[int, list[np.ndarray]] = {}

    @np.errstate(all="ignore")  # what overflows is refused at the end
    def upper(self, form: np.ndarray, given: Given, signs: Sequence[np.ndarray] | None = None) -> list[Fraction]:
        """Return upper bounds of form h (rows, n) of the layer above the proven ones.

        `signs` (rows, n_i) are those of leaves.
        """
        widest = [max(step.shape) for step in self.network.steps]
        widest += [4 * pool.windows.size for pool in self.network.pools.values()]  # several arrays at once
        group = max(1, LARGEST // max(widest))
        found: list[Fraction] = []
        for start in range(0, len(form), group):
            rows = slice(start, start + group)
            forms = self.arithmetic(form[rows])
            for i in reversed(range(len(self.bounds) + 1)):
                forms.through(self.network.layers[i], self._step_sizes(i))
                if not i:
                    break
                low, high = self.bounds[i - 1]
                if signs is not None:
                    sign = signs[i - 1][rows]
                    low, high = in_leaf(low, high, sign)
                own = given if isinstance(given, str) else given[i - 1]
                other = self.network.others.get(i)
                if other is not None and isinstance(own, str) and own != "interval":
                    raise Refused(f"rule: {own} is for ReLU only")
                forms.relu(low, high, own if isinstance(own, str | tuple) else own[rows], other)  # type: ignore[arg-type]
            found += forms.largest(self.region)
        return found

    def next_layer(self, given: Given) -> list[Fraction]:
        """Return upper bounds of h (n,), then of -h, of the next hidden layer, by forms (2 n, n_i) or a rule.

        Where a sparse step carries values past ReLU, each is at most the one by the rule `interval`.
        """
        forms = both_signs(self.network.sizes[len(self.bounds)])
        found = self.upper(forms, given)
        branched = self.bounds and any(isinstance(step, Sparse) for step in self.network.steps)
        return [*map(min, found, self.upper(forms, "interval"))] if branched else found

    def _step_sizes(self, i: int) -> list[np.ndarray]:
        """Return bounds of the absolute values of what each step of layer i is applied to; for floats only."""
        if self.arithmetic is not FloatForms:
            return []
        if i not in self._sizes:
            middle, half, _, _ = around(self.region)
            found = [(np.abs(middle) + half) * (1 + 2.0**-50)]
            if i:
                low, high = self.bounds[i - 1]
                pool, ends = self.network.pools.get(i), np.maximum(np.abs(low), np.abs(high))
                found = [np.maximum(high, 0) if pool is None else ends[pool.windows].max(1)]
            for step in self.network.layers[i][:-1]:
                found.append((step.forward(found[-1], absolute=True) + np.abs(step.bias) + 2.0**-1000) * (1 + 2.0**-20))
            self._sizes[i] = found
        return self._sizes[i]

    def prove_layer(self, file: Certificate, layer: int, rule: object) -> str:
        """Prove the file's l <= h <= u (n,) of the next hidden layer; return how numbers were computed."""
        if layer != len(self.bounds) + 1 or layer >= len(self.network.layers):
            raise Refused("layer: hidden layers are proven in order, each once")
        size = self.network.sizes[layer - 1]
        given = _forms(file, rule, f"mu{layer}.", self.network.places[: layer - 1], 0, 2 * size)
        low, high = (np.asarray(array(file.arrays, f"{side}{layer}"), float) for side in "lu")
        if low.shape != (size,) or high.shape != (size,) or not np.isfinite([low, high]).all():
            raise Refused(f"l{layer}, u{layer}: expected {size} finite numbers each")
        claimed = map(Fraction, [*high.tolist(), *(-low).tolist()])
        wrong = sum(f > c for f, c in zip(self.next_layer(given), claimed, strict=True))
        if wrong:
            raise Refused(f"layer {layer}: {wrong} of {2 * size} bounds are not proven")
        self.bounds.append((low, high))
        return self.arithmetic.by

    def margin(self, label: int, target: int, rows: int = 1) -> np.ndarray:
        """Return the form of F_target - F_label, (rows, K) times the same."""
        if len(self.bounds) != len(self.network.layers) - 1:
            raise Refused("the bounds of a hidden layer are not proven")
        check_labels(label, target, self.network.sizes[-1])
        form = np.zeros((rows, self.network.sizes[-1]))
        form[:, target], form[:, label] = 1, -1
        return form


def both_signs(size: int) -> np.ndarray:
    """Return the forms h_j, then -h_j, of `size` neurons."""
    return np.concatenate([np.eye(size), -np.eye(size)])


@np.errstate(all="ignore")  # what overflows is refused
def enclosed_outputs(network: Network, x: Exact) -> tuple[Exact, Exact, str]:
    """Return what F(x) (K,) lies between, both ends the same where it is exact, and how that is known."""
    if is_small(network):
        exact = exact_outputs(network, x)
        return exact, exact, ExactForms.by
    value = x.floats()
    error = 2 * np.abs(value) * UNIT + TINY
    for i, layer in enumerate(network.layers):
        if i:
            value = np.maximum(value, 0)
        for step in layer:
            size = step.forward(np.abs(value), absolute=True) + np.abs(step.bias) + 2.0**-1000
            error = step.forward(error, absolute=True) * (1 + 2.0**-20) + 4 * (step.terms + 16) * (UNIT * size + TINY)
            value = step.forward(value) + step.bias
    if not np.isfinite(value).all() or not np.isfinite(error).all():
        raise Refused("the point's margin is beyond all measure")
    return Exact.of(value) - Exact.of(error), Exact.of(value) + Exact.of(error), FloatForms.by


def is_small(network: Network) -> bool:
    """Return whether its outputs are computed in integers."""
    return sum(step.products for step in network.steps) <= EXACT_UP_TO // 10


def exact_outputs(network: Network, x: Exact) -> Exact:
    """Return F(x) (K,) in integers."""
    for i, layer in enumerate(network.layers):
        x = x.positive() if i else x
        for step in layer:
            x = step.image(x)
    return x


def check_inputs(network: Network, region: Region) -> None:
    if len(region.centre) != network.inputs:
        raise Refused(f"region: expected {network.inputs} coordinates, got {len(region.centre)}")
