"""Certificate files of bounds of ReLU networks: forms for each layer, made of the slopes that a method found.

The bounds in a file are those that its forms prove in the checker's own arithmetic, rounded outward; these differ from
a method's own by rounding. See README-relu.md of the checker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from tightrope.attacks import Attack
from tightrope.checker import regions, relu
from tightrope.checker.numbers import above
from tightrope.checker.relu_network import Network
from tightrope.checker.trees import in_leaf
from tightrope.errors import UnknownNameError
from tightrope.networks import FeedForward
from tightrope.networks.activations import RELU
from tightrope.proofs import (
    DISTANCE_DIGITS,
    Proof,
    arrays_of,
    checked,
    decimal_above,
    decimal_below,
    moved_inside,
    named_refusals,
    shortened,
    with_last_claim,
)
from tightrope.propagation.layerwise import Layerwise, Tightened
from tightrope.propagation.lines import Relaxation, relaxation
from tightrope.question import Question
from tightrope.regions import Ball, Region

#: The checker's rules of the hidden layers and of the margins, for each relaxation. Of the same hidden bounds, hBox's
#: own are never better than those by back-substitution.
RULES = {
    "box": ("interval", "interval"),
    "hbox": ("hbox", "hbox"),
    "hbox_back": ("hbox", "hbox"),
    "crown_ibp": ("interval", "crown"),
    "deepz": ("deepz", "deepz"),
    "crown": ("crown", "crown"),
    "crown_0": ("crown_0", "crown_0"),
}


@dataclass(frozen=True, eq=False)
class Leaves:
    """What proves a margin: one leaf, or those of a tree of phases, with arrays (leaves, n_l) for each hidden layer."""

    target: int
    slopes: tuple[np.ndarray, ...]  # lower slopes
    signs: tuple[np.ndarray, ...] | None = None  # int8: 1 where h >= 0 is assumed, -1 where h <= 0 is, else 0
    multipliers: tuple[np.ndarray, ...] | None = None  # of the phases


@dataclass(frozen=True, eq=False)
class Forms:
    """Forms in the preactivations below some bounds, such as the multipliers of linear programs over all layers."""

    rows: np.ndarray  # (k,) whose: j for the upper, n + j for the lower bound of neuron j; of margins, the target
    forms: tuple[np.ndarray, ...]  # (k, n_l) of each hidden layer below


@named_refusals()
def linear(question: Question, *relaxations: str) -> Proof:
    """Return the proof of bounds of F_target - F_label by relaxations of RULES, for every target of the question.

    Of several the last one is taken with which every bound is negative; if there is none, every bound is the best that
    all of them together prove.
    """
    for name in relaxations:
        if name not in RULES:
            raise UnknownNameError("relaxation", name, list(RULES))
    alone = [(name,) for name in reversed(relaxations)] if len(relaxations) > 1 else []
    is_relu = question.layers.is_relu
    for names in (*alone, relaxations) if is_relu or not alone else alone:
        writer = _Writer(question.layers, question.region, question.label, () if is_relu else names)
        for _ in range(len(question.layers.layers) - 1):
            rules = [RULES[name][0] for name in names]
            writer.add_layer(rules if is_relu or rules == ["interval"] else names)
        writer.state_lines()
        for target in question.targets:
            writer.add_margin(target, [RULES[name][1] for name in names] if is_relu else names)
        if writer.worst < 0:
            break
    return writer.proof()


@named_refusals()
def layerwise(
    network: FeedForward,
    region: Ball,
    found: Layerwise,
    leaves: Iterable[Leaves] | None = None,
    labels: Sequence[int] | None = None,
) -> Proof:
    """Return the proof of LP-GREEDY, LP-LAST or LP-ALL, solved with `keep=True`.

    `leaves` are those of a tree, of the targets that the root leaves open; `labels` the labels of `network` that are
    the outputs of what was bounded, if that has some of them only.
    """
    labels = range(network.classes) if labels is None else labels
    lines = () if network.is_relu else ("deepz", "crown")
    writer = _Writer(network, region, labels[found.label], lines)
    tightened = [[part for part in found.hidden if part.layer == i] for i in range(len(network.layers) - 1)]
    for i in range(len(network.layers) - 1):
        own = [side[i][0].numpy() for side in (found.triangles.upper, found.triangles.lower)]
        writer.add_layer(("deepz", "crown"), np.concatenate([own[0], -own[1]]), map(writer.forms, tightened[i]))
    trees = {tree.target: tree for tree in leaves or ()}
    for row, target in enumerate(output for output in range(len(labels)) if output != found.label):
        whole = Leaves(target, tuple(a[0, row : row + 1].double().numpy() for a in found.dual.slopes))
        writer.add_leaves(replace(trees.get(target, whole), target=labels[target]))
    return writer.proof()


@named_refusals()
def programs(
    network: FeedForward, region: Ball, label: int, known: Sequence[np.ndarray], hidden: Sequence[Forms], margins: Forms
) -> Proof:
    """Return the proof of bounds by linear programs, Triangle's or Parallelogram's.

    `known` (2 n_i,) are their upper bounds of h, then of -h, of each hidden layer; `hidden` and `margins` are what
    proves them. Of bounds that have no form there, a rule does.
    """
    writer = _Writer(network, region, label)
    for bounds, forms in zip(known, hidden, strict=True):
        writer.add_layer(("deepz", "crown", "hbox"), bounds, [forms])
    for row, target in enumerate(margins.rows.tolist()):
        writer.add_forms(target, [mu[row : row + 1] for mu in margins.forms])
    return writer.proof()


@named_refusals()
def attack(question: Question, hit: Attack) -> Proof:
    """Return the proof that the label of an attack is above the true one at its point, moved into the ball exactly."""
    network, label, region = question.layers, question.label, question.region
    point = moved_inside(region.require_ball("certificate files of attacks are"), hit.point)
    logits = network.logits(point)
    margin = float(logits[hit.label] - logits[label])
    claim = {"label": label, "target": int(hit.label), "least": decimal_below(margin - 1e-9 * abs(margin))}
    header, arrays = region.stated()
    return checked("relu-point", network, header, [claim], arrays | {"point": np.atleast_2d(point)})


def distortion(question: Question, hit: Attack, lower: Proof | None) -> Proof:
    """Return the proof of the minimum distortion of a ball's centre between the ball's radius and an attack's distance.

    `lower` is the file that the ball has no other label; without one only the attack's distance is proven.
    """
    network, label, region = question.layers, question.label, question.region.require_ball("distortions are")
    distance = decimal_above(float(np.abs(hit.point - region.center).max()) * (1 + 1e-12), DISTANCE_DIGITS)
    last = {"label": label, "target": int(hit.label), "distance": distance}
    return with_last_claim("relu-distortion", network, region, lower, last, {"point": np.atleast_2d(hit.point)})


class _Writer:
    """A file that is written layer by layer; its claims are what the checker's arithmetic gives."""

    def __init__(self, network: FeedForward, region: Region, label: int, lines: Sequence[str] = ()) -> None:
        self.network, self.label = network, label
        self.header, self.arrays = region.stated()
        weights = {name: np.asarray(array) for name, array in arrays_of(network)[1].items()}
        self.proofs = relu.Proofs(Network.read(weights, any_activation=True), regions.read(self.header, self.arrays))
        self.claims: list[dict] = []
        self.rows: dict[str, list[np.ndarray]] = {}
        #: Slopes above and below of each hidden layer by relaxations, whose rules are for ReLU only.
        self.lines: dict[str, list[relu.Lines]] = {name: [] for name in lines}

    def add_layer(self, rules: Sequence[str], known: np.ndarray | None = None, proposed: Iterable[Forms] = ()) -> None:
        """Bound the next hidden layer by the first rule that proves what is known.

        `known` (2 n,) are upper bounds of h, then of -h, which the slopes of layers above are made for. If no rule
        proves them all, or none are known and there are several rules, each is the best of the rules and of what is
        proposed. What is tighter than known is left.
        """
        number = len(self.proofs.bounds) + 1
        size = self.proofs.network.sizes[number - 1]
        forms = relu.both_signs(size)
        wanted = [] if known is None else [*map(Fraction, known.tolist())]
        found = []
        for rule in rules:
            values = self.proofs.next_layer(self.lines.get(rule, rule))
            enough = bool(wanted) and all(value <= want for value, want in zip(values, wanted, strict=True))
            if number == 1 or (enough and rule not in self.lines) or len(rules) == 1:
                break
            found.append((values, self._forms(forms, rule)))
        else:
            rule = "given"
            best, mu = found[0]
            for other, given in found[1:]:
                _improve(best, mu, np.arange(2 * size), other, given)
            for part in proposed:
                given = [shortened(array) for array in part.forms]
                _improve(best, mu, part.rows, self.proofs.upper(forms[part.rows], given), given)
            values = self.proofs.next_layer(mu)
            self.arrays |= {f"mu{number}.{j}": array for j, array in enumerate(mu, start=1)}
        values = [*map(max, values, wanted)] if wanted else values
        high, low = np.array([above(value) for value in values]).reshape(2, size)
        self.proofs.bounds.append((-low, high))
        self.arrays |= {f"l{number}": -low, f"u{number}": high}
        self.claims.append({"layer": number, "rule": "lines" if rule in self.lines else rule})
        for name, lines in self.lines.items():
            lines.append(self._lines(relaxation(name)))

    def _lines(self, chosen: Relaxation) -> relu.Lines:
        """Return the slopes of the lines of the last hidden layer's nonlinearity, as a relaxation does; Box has 0."""
        i, (low, high) = len(self.proofs.bounds) - 1, self.proofs.bounds[-1]
        upper, lower = np.zeros((2, self.proofs.network.places[i]))
        if self.network.activations[i] == RELU:
            upper, lower = relu.slopes(RULES[chosen.name][1], low, high)
        elif chosen.lines is not None:
            lower, upper = chosen.slopes(self.network.activations[i], low, high)
        return upper.ravel(), lower.ravel()

    def state_lines(self) -> None:
        """Put the lines, of one relaxation, into the file."""
        for lines in self.lines.values():
            for number, (upper, lower) in enumerate(lines, start=1):
                self.arrays |= {f"upper{number}": upper, f"lower{number}": lower}

    def forms(self, part: Tightened) -> Forms:
        """Return the forms of bounds of the next layer by their slopes."""
        size = self.proofs.network.sizes[part.layer]
        rows = np.concatenate([part.rows.numpy(), part.rows.numpy() + size])
        slopes = [slopes.double().numpy() for slopes in part.slopes]
        return Forms(rows, tuple(self._forms(relu.both_signs(size)[rows], "crown", slopes)))

    def add_margin(self, target: int, rules: Sequence[str]) -> None:
        """Bound F_target - F_label by the best of the rules."""
        form = self.proofs.margin(self.label, target)
        value, rule = min((self.proofs.upper(form, self.lines.get(rule, rule))[0], rule) for rule in rules)
        self._claim(target, [value], {"rule": "lines" if rule in self.lines else rule})

    def add_forms(self, target: int, forms: Sequence[np.ndarray]) -> None:
        """Bound F_target - F_label by forms (1, n_l) of each hidden layer."""
        mu = [shortened(array) for array in forms]
        self._keep("mu.", mu)
        self._claim(target, self.proofs.upper(self.proofs.margin(self.label, target), mu), {"rule": "given"})

    def add_leaves(self, leaves: Leaves) -> None:
        """Bound F_target - F_label by the slopes of each leaf, in single precision where that proves the sign."""
        form = self.proofs.margin(self.label, leaves.target, len(leaves.slopes[0]) if leaves.slopes else 1)
        for single in (True, False):
            mu = self._forms(form, "crown", leaves.slopes, leaves, single)
            values = self.proofs.upper(form, mu, leaves.signs)
            if max(values) < 0:
                break
        self._keep("mu.", mu)
        more = {}
        if leaves.signs is not None:
            more = {"leaves": len(form)}
            self._keep("sign.", [array.astype(np.int8) for array in leaves.signs])
        self._claim(leaves.target, values, {"rule": "given", **more})

    def _keep(self, prefix: str, arrays: Sequence[np.ndarray]) -> None:
        for j, array in enumerate(arrays, start=1):
            self.rows.setdefault(f"{prefix}{j}", []).append(array)

    @property
    def worst(self) -> Fraction:
        """The largest bound of a margin so far."""
        return max(Fraction(claim["bound"]) for claim in self.claims if "bound" in claim)

    def _claim(self, target: int, values: Sequence[Fraction], more: dict) -> None:
        bound = decimal_above(above(max(values)))
        self.claims.append({"label": self.label, "target": target, "bound": bound, **more})

    def _forms(
        self,
        form: np.ndarray,
        rule: str,
        slopes: Sequence[np.ndarray] | None = None,
        leaves: Leaves | None = None,
        single: bool = True,
    ) -> list[np.ndarray]:
        """Return a form (rows, n_l) of each hidden layer's preactivations: by a rule, or by these lower slopes."""
        found: list[np.ndarray] = []
        for i in reversed(range(len(self.proofs.bounds) + 1)):
            if found or i == len(self.proofs.bounds):
                for step in reversed(self.proofs.network.layers[i]):
                    form = step.transposed(form)
            if i == 0:
                break
            low, high = self.proofs.bounds[i - 1]
            sign = None if leaves is None or leaves.signs is None else leaves.signs[i - 1]
            if sign is not None:
                low, high = in_leaf(low, high, sign)
            pool = self.proofs.network.pools.get(i)
            form = form if pool is None else form[:, pool.owners]
            upper, lower = self.lines[rule][i - 1] if self.lines else relu.slopes(rule, low, high)
            if slopes is not None and self.network.activations[i - 1] == RELU:
                lower = np.where((low < 0) & (high > 0), slopes[i - 1], upper)
            elif slopes is not None:  # (rows, n, 2) or (rows, m, k, 2)
                lower, upper = np.moveaxis(slopes[i - 1].reshape(len(form), -1, 2), 2, 0)
            mu = form * np.where(form > 0, upper, lower)
            if sign is not None and leaves is not None and leaves.multipliers is not None:
                mu = mu + sign * leaves.multipliers[i - 1]
            mu = shortened(mu) if single else mu
            found.append(mu)
            form = mu.astype(float) if pool is None else pool.summed(mu.astype(float))
        return found[::-1]

    def proof(self) -> Proof:
        """Return the file, with what the checker says of it."""
        rows = {name: np.concatenate(parts) for name, parts in self.rows.items()}
        return checked("relu-linear", self.network, self.header, self.claims, self.arrays | rows)


def _improve(
    best: list[Fraction], mu: list[np.ndarray], rows: np.ndarray, values: list[Fraction], forms: list[np.ndarray]
) -> None:
    """Put the forms of lower values into their rows."""
    for place, (row, value) in enumerate(zip(rows.tolist(), values, strict=True)):
        if value < best[row]:
            best[row] = value
            for i, other in enumerate(forms):
                mu[i] = mu[i].astype(np.promote_types(mu[i].dtype, other.dtype), copy=False)
                mu[i][row] = other[place]
