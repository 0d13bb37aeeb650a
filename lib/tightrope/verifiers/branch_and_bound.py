"""Branch and bound on ReLU phases: an exact answer for boxes, batched over subproblems.

A subproblem is a target label and a phase, h >= 0 or h <= 0, for some neurons. Its bound is the dual over lower slopes
with a multiplier for each phase (:mod:`tightrope.propagation.alpha`), started from its parent's multipliers. Bounds of
the hidden layers are those of the root, LP-ALL's. A subproblem with a negative bound is closed; where the others are
largest over the region is where the attack looks next. The image is robust when no subproblem is left.

The next neuron is chosen by looking ahead: for those whose triangle costs the bound most, both phases are bounded with
a few steps, and the neuron with the largest product of gains is taken.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.checker.trees import complete
from tightrope.propagation.alpha import Dual, Triangles, minimise
from tightrope.propagation.bounds import specification
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import Layerwise, layerwise
from tightrope.propagation.operators import operators
from tightrope.propagation.rounding import composed
from tightrope.question import DEFAULT, Limits, Question, Verdict
from tightrope.relu_proofs import Leaves
from tightrope.solvers.highs import LinearProgram, LinearReport
from tightrope.solvers.report import end_if
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import Report
from tightrope.verifiers.unfinished import Unfinished

#: Subproblems that are split together, neurons that look ahead, and steps of looking and of bounding.
BATCH, CANDIDATES, LOOK, STEPS = 48, 8, 6, 20
#: The arrays of a file of subproblems that have a column for each neuron.
_KEPT = ("split", "slopes", "multipliers")


@dataclass(frozen=True, eq=False, repr=False)
class BranchAndBound(Report):
    """What branch and bound found.

    CERTIFIED, FALSIFIED with the `attack`, re-checked by :func:`tightrope.attacks.check`, or UNKNOWN with the `reason`.
    `bound` is a proven upper bound of the largest margin F_k - F_label over the region, not tightened beyond its sign;
    `subproblems` counts bounds, without those of looking ahead. With `keep` a CERTIFIED one has the `root` and the
    trees of the targets that it leaves open, of which :func:`tightrope.relu_proofs.layerwise` makes a certificate file.
    """

    verdict: Verdict
    bound: float
    attack: Attack | None
    subproblems: int
    seconds: float
    reason: str = ""
    root: Layerwise | None = None
    leaves: tuple[Leaves, ...] = ()
    facts = ("verdict", "bound", "reason", "subproblems", "seconds")


def branch_and_bound(
    question: Question,
    limits: Limits = DEFAULT,
    *,
    root: Layerwise | None = None,
    subproblems: int | None = None,
    keep: bool = False,
) -> BranchAndBound:
    """Decide whether the label wins against all targets on the whole region, a ball of the maximum norm, clipped or
    not.

    The time of `limits` is processor time, which does not depend on what else runs; at the limit, or after so many
    `subproblems`, the verdict is UNKNOWN. Both count what was done before, where the tree is kept in `limits.trees` and
    goes on. `root` are bounds of LP-ALL, if they are known (:func:`tightrope.propagation.layerwise.layerwise`). With
    `keep` what proves each subproblem's bound is kept; the root must have been solved with `keep` too.
    """
    network, box = question.layers, question.region.require_box("branch and bound is")
    network.require_relu("branch and bound splits")
    began, began_cpu = time.perf_counter(), time.process_time()
    with one_blas_thread(), torch.no_grad():
        attack = attacks.check(question, box.center)
        if attack is not None:
            return BranchAndBound(Verdict.FALSIFIED, np.inf, attack, 0, time.perf_counter() - began)
        if root is None:
            root = layerwise(network, InputSet.from_balls([box]), question.label, "lp-all", decide=True, keep=keep)
        if not root.triangles.layers:  # the bounds are attained
            attack = attacks.check(question, box.project(root.points.numpy()))
            bound = np.inf if attack is not None else float(root.margins[list(question.targets)].max())
            verdict = Verdict.FALSIFIED if attack else Verdict.CERTIFIED if bound < 0 else Verdict.UNKNOWN
            reason, kept = "0 up to rounding" if verdict is Verdict.UNKNOWN else "", root if bound < 0 else None
            return BranchAndBound(verdict, bound, attack, 0, time.perf_counter() - began, reason, kept)
        file = Unfinished.of(question, "relu-tree", limits.trees)
        tree, reason = _Tree(question, root, keep or file is not None), ""
        if file is not None:
            began_cpu -= tree.resume(file)
        attack = tree.attacked(root.points)
        while attack is None and len(tree.open):
            end_if(limits.stop)
            if limits.time is not None and time.process_time() - began_cpu > limits.time:
                reason = f"time limit of {limits.time:g} s"
            elif subproblems is not None and tree.count >= subproblems:
                reason = f"limit of {subproblems} subproblems"
            if reason:
                break
            attack = tree.step()
            if tree.stuck and attack is None:
                reason = "the margin is 0 up to rounding for some phases"
        if file is not None:
            ended = attack is None and len(tree.open) and not tree.stuck
            file.keep(tree.parts(time.process_time() - began_cpu) if ended else None)
    seconds = time.perf_counter() - began
    if attack is not None:
        return BranchAndBound(Verdict.FALSIFIED, np.inf, attack, tree.count, seconds)
    verdict = Verdict.UNKNOWN if reason else Verdict.CERTIFIED
    worst = max(float(tree.open.bound.max()) if len(tree.open) else -np.inf, tree.closed)
    proof = (root, tree.leaves()) if keep and verdict is Verdict.CERTIFIED else ()
    return BranchAndBound(verdict, worst, None, tree.count, seconds, reason, *proof)


class Rows:
    """A dataclass of tensors, or tuples of them, with a row for each subproblem."""

    def rows(self, chosen: Tensor | slice) -> Self:
        """Return some of the subproblems."""
        return self._with(lambda side: side[chosen], [self])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the subproblems of several parts."""
        return cls._with(lambda *sides: torch.cat(sides), parts)

    @classmethod
    def _with(cls, change: Callable[..., Tensor], parts: Sequence[Self]) -> Self:
        fields = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(tuple(map(change, *own)) if isinstance(own[0], tuple) else change(*own) for own in fields))


@dataclass(frozen=True, eq=False)
class _Domains(Rows):
    """Subproblems: of a margin form's row `target` (D,), with phases `split`.

    `slopes` and `multipliers` (D, 1, n_l) are those of the dual, `forms` (D, n_l) what is above each hidden layer with
    them; `split` is (D, n_l), `bound` (D,).
    """

    target: Tensor
    split: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    multipliers: tuple[Tensor, ...]
    bound: Tensor
    forms: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.target)


class _Tree:
    """Open subproblems of one image."""

    def __init__(self, question: Question, root: Layerwise, keep_leaves: bool) -> None:
        self.question, self.box = question, question.region.require_box("this is")
        self.inputs = inputs = InputSet.from_balls([self.box])
        self.kept: list[_Domains] | None = [] if keep_leaves else None
        self.triangles, keep = root.triangles.alive()
        self.alive = list(zip(keep, root.triangles.lower, strict=True))
        layers = operators(question.layers)
        A, constant = specification(layers[-1], torch.tensor([question.label]))
        constant = constant + 2.01 * composed(layers, inputs, root.triangles).max(1, keepdim=True).values
        others = torch.tensor(question.targets)
        self.A, self.constant = A[0, others][:, keep[-1]], constant[0, others]
        self.count, self.stuck = 0, False
        self.met: Attack | None = None
        margins = root.margins[others]
        decided = margins[margins < 0]  # the root's bounds of the other labels stay part of the answer
        self.closed = float(decided.max()) if len(decided) else -np.inf
        first = (~(margins < 0)).nonzero()[:, 0]  # what is not a number is not decided either
        slopes = tuple(a[0][first][:, None][..., k] for a, k in zip(root.dual.slopes, keep, strict=True))
        split = tuple(torch.zeros(len(first), a.shape[-1], dtype=torch.int8) for a in slopes)
        none = tuple(torch.zeros_like(a) for a in slopes)
        self.open = _Domains(first, split, slopes, none, margins[first], tuple(a[:, 0] for a in slopes))
        if len(first):  # the forms are not kept by the root: one evaluation
            self.open, _ = self._bounded(self.open, 0)

    def parts(self, spent: float) -> dict[str, np.ndarray]:
        """Return all subproblems so far, closed and open, as the arrays of a file, with the processor seconds."""
        whole = _Domains.join([*(self.kept or ()), self.open])
        sides = (whole.split, whole.slopes, whole.multipliers)
        arrays = {name: torch.cat([*side], -1).flatten(1).numpy() for name, side in zip(_KEPT, sides, strict=True)}
        arrays |= {name: arrays[name].astype(float) for name in _KEPT[1:]}
        return arrays | {"target": whole.target.numpy().astype(np.int32), "work": np.array([self.count, spent])}

    def resume(self, file: Unfinished) -> float:
        """Go on from a file, whose bounds are evaluated anew; return the processor seconds so far, 0 without one."""
        found = file.read(split=np.int8, slopes=float, multipliers=float, target=np.int32, work=float)
        if found is None:
            return 0.0
        split, slopes, multipliers, target, work = found.values()
        sizes = [layer.shape[1] for layer in self.open.split]
        file.require(split.shape == slopes.shape == multipliers.shape == (len(target), sum(sizes)))
        file.require(work.shape == (2,) and bool((work >= 0).all() and np.isfinite(work).all()))
        file.require(set(target.tolist()) == set(self.open.target.tolist()))
        file.require(all(complete(split[target == own]) for own in set(target.tolist())))
        first, second = (torch.tensor(side)[:, None].split(sizes, -1) for side in (slopes, multipliers))
        unknown = torch.full((len(target),), torch.inf, dtype=torch.float64), first
        every = _Domains(torch.tensor(target).long(), torch.tensor(split).split(sizes, 1), first, second, *unknown)
        self.open = self.open.rows(slice(0))
        for start in range(0, len(target), BATCH):
            own = every.rows(slice(start, start + BATCH))
            bounded, _ = self._bounded(own, 0)
            closed = bounded.bound < 0
            self._close(replace(bounded, slopes=own.slopes, multipliers=own.multipliers).rows(closed))
            self.open = _Domains.join([self.open, bounded.rows(~closed)])
        self.count = int(work[0])
        return float(work[1])

    def attacked(self, points: Tensor) -> Attack | None:
        """Return the best of these inputs, if it proves that the label does not win."""
        return attacks.check(self.question, self.box.project(points.double().numpy()))

    def step(self) -> Attack | None:
        """Split the worst subproblems; returns an attack if one was met."""
        order = torch.argsort(self.open.bound, descending=True)
        now, later = self.open.rows(order[:BATCH]), self.open.rows(order[BATCH:])
        children = self._split(now)
        if not len(children) or self.met is not None:
            self.open = later
            return self.met
        bounded, points = self._bounded(children, STEPS)
        self.count += len(children)
        found = self.attacked(points)
        closed = bounded.bound < 0
        self._close(bounded.rows(closed))
        self.open = _Domains.join([bounded.rows(~closed), later])
        return found

    def _bounded(self, domains: _Domains, steps: int, goal: float | None = 0.0) -> tuple[_Domains, Tensor]:
        """Return the subproblems with new multipliers and bounds, and their maximisers (D, n_0)."""
        n = len(domains)
        inputs = InputSet(self.inputs.lower.expand(n, -1), self.inputs.upper.expand(n, -1))
        sides = (self.triangles.lower, self.triangles.upper)
        lower, upper = (tuple(layer.expand(n, -1) for layer in side) for side in sides)
        triangles = Triangles(self.triangles.layers, lower, upper, domains.split)
        A, constant = self.A[domains.target][:, None], self.constant[domains.target][:, None]
        first = Dual(domains.slopes, domains.multipliers)
        found = minimise(A, constant, triangles, inputs, first=first, steps=steps, goal=goal)
        bound = torch.fmin(found.bound[:, 0], domains.bound)  # a parent's bound holds for its children
        sides = (found.dual.slopes, found.dual.multipliers or ())
        slopes, multipliers = (tuple(t.float() for t in side) for side in sides)
        forms = tuple(f[:, 0] for f in found.forms)
        return _Domains(domains.target, domains.split, slopes, multipliers, bound, forms), found.points[:, 0]

    def _split(self, domains: _Domains) -> _Domains:
        """Return both children of each subproblem, at the neuron that looking ahead prefers."""
        scores = torch.cat([self._scores(domains, i) for i in range(len(domains.split))], 1)
        best, where = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)
        leaves = best[:, 0] <= 0
        if bool(leaves.any()):  # without unstable neurons: decided by their linear programs
            for row in leaves.nonzero():
                self._leaf(domains.rows(row))
            rest = domains.rows(~leaves)
            return self._split(rest) if len(rest) else rest
        D, k = where.shape
        repeated = domains.rows(torch.arange(D).repeat_interleave(k))
        pairs = _Domains.join([_phased(repeated, where.flatten(), sign) for sign in (1, -1)])
        looked, _ = self._bounded(pairs, LOOK)
        gains = (domains.bound[:, None] - looked.bound.reshape(2, D, k)).clamp(min=1e-9)
        # More than what closes a subproblem is no gain.
        gains = torch.minimum(gains, domains.bound[:, None] + 1e-3)
        gains = torch.where((best > 0)[None], gains, torch.zeros_like(gains))
        chosen = (gains[0] * gains[1]).argmax(1)
        rows = torch.arange(D) * k + chosen
        children = looked.rows(torch.cat([rows, rows + D * k]))
        closed = children.bound < 0
        self.count += int(closed.sum())
        self._close(children.rows(closed))
        return children.rows(~closed)

    def _close(self, domains: _Domains) -> None:
        """Take note of subproblems with negative bounds."""
        if len(domains):
            self.closed = max(self.closed, float(domains.bound.max()))
            if self.kept is not None:
                self.kept.append(domains)

    def leaves(self) -> tuple[Leaves, ...]:
        """Return the subproblems that were closed, by target and of all neurons."""
        done = _Domains.join(self.kept or [self.open])  # of nothing, where the root decides
        parts = ([t[:, 0] for t in done.slopes], done.split, [t[:, 0] for t in done.multipliers])
        found = []
        for target in done.target.unique().tolist():
            rows = done.target == target
            found.append(Leaves(self.question.targets[target], *(self._whole(side, rows) for side in parts)))
        return tuple(found)

    def _whole(self, side: Sequence[Tensor], rows: Tensor) -> tuple[np.ndarray, ...]:
        """Return rows of values of all neurons of each layer, from those that are not always 0."""
        found = []
        for (chosen, like), values in zip(self.alive, side, strict=True):
            whole = torch.zeros(int(rows.sum()), like.shape[-1], dtype=values.dtype)
            whole[:, chosen] = values[rows]
            found.append(whole.numpy())
        return tuple(found)

    def _leaf(self, domain: _Domains) -> None:
        """One subproblem in which the network is affine: its maximiser is an attack, or its multipliers close it."""
        n = self.inputs.lower.shape[1]
        G, o = torch.eye(n).double(), torch.zeros(n).double()
        rows, offsets, places = [], [], []
        for i, layer in enumerate(self.triangles.layers):
            G = torch.stack(list(layer.linear(G.T))).T  # columns of the identity through W
            o = layer.linear(o[None])[0] + layer.bias
            sign = domain.split[i][0].double()
            split = sign.nonzero()[:, 0]
            rows.append(sign[split, None] * G[split])
            offsets.append(-sign[split] * o[split])
            places.append(split)
            on = ((self.triangles.lower[i][0] >= 0) | (sign > 0)).double()
            G, o = on[:, None] * G, on * o
        A, constant = self.A[domain.target[0]], self.constant[domain.target[0]]
        form, matrix, low = (A @ G).numpy(), torch.cat(rows).numpy(), torch.cat(offsets).numpy()
        found, scale = self._leaf_program(matrix, low, form, float(A @ o + constant))
        self.count += 1
        if found.x is not None:
            self.met = self.met or self.attacked(torch.tensor(found.x[: len(form)])[None])
        multipliers, start = [], 0
        for split, slopes in zip(places, domain.slopes, strict=True):
            beta = torch.zeros_like(slopes, dtype=torch.float64)
            beta[0, 0, split] = torch.tensor(np.maximum(-scale * found.multipliers[start : start + len(split)], 0))
            multipliers.append(beta)
            start += len(split)
        exact = replace(domain, multipliers=tuple(multipliers))
        bound = float(self._bounded(exact, 0)[0].bound)
        if self.kept is not None:
            self.kept.append(exact)
        self.closed = max(self.closed, bound if bound == bound else np.inf)
        self.stuck = self.stuck or not bound < 0

    def _leaf_program(
        self, matrix: np.ndarray, low: np.ndarray, form: np.ndarray, constant: float
    ) -> tuple[LinearReport, float]:
        """Maximise form x + constant over matrix x >= low in the box; and by how much to scale the rows' multipliers.

        Phases that exclude each other have no point. Then the multipliers are those of the least violation: any
        multiple of them lowers the form's bound by as much again.
        """
        lower, upper = self.inputs.lower[0].numpy(), self.inputs.upper[0].numpy()
        program = LinearProgram()
        columns = program.add_columns(lower, upper)
        least = np.where(matrix > 0, matrix * lower, matrix * upper).sum(1)
        (slack,) = program.add_columns([0.0], [1 + max(0.0, float((low - least).max(initial=0.0)))])
        program.add_rows(np.c_[matrix, np.ones(len(low))], low, np.full(len(low), np.inf))
        apart = program.maximise([slack], [-1.0])
        if apart.bound < 0:
            most = abs(constant) + np.abs(form) @ np.maximum(np.abs(lower), np.abs(upper)) + 1
            return apart, 2 * most / -apart.bound
        program.set_columns([slack], [0.0], [0.0])
        return program.maximise(columns, form), 1.0

    def _scores(self, domains: _Domains, i: int) -> Tensor:
        """Return what the triangle of each neuron of layer i costs the bound, (D, n_i); 0 where it is a line."""
        low, u = self.triangles.lower[i], self.triangles.upper[i]
        free = (low < 0) & (u > 0) & (domains.split[i] == 0)
        chord = u / (u - low).clamp(min=1e-30)
        A, a = domains.forms[i], domains.slopes[i][:, 0]
        # Above: the chord's height at 0. Below: a h misses max(h, 0) by -a l or (1 - a) u at the ends.
        below = torch.maximum(-a * low, (1 - a) * u).clamp(max=(-chord * low).amax()) / 2
        cost = A.clamp(min=0) * (-chord * low) - A.clamp(max=0) * torch.minimum(below, -chord * low)
        return torch.where(free, cost + 1e-12, torch.zeros_like(cost))


def _phased(domains: _Domains, where: Tensor, sign: int) -> _Domains:
    """Return the subproblems with one more phase each, at position `where` of all hidden neurons."""
    whole = torch.cat(domains.split, 1)
    whole[torch.arange(len(whole)), where] = sign
    return replace(domains, split=whole.split([layer.shape[1] for layer in domains.split], 1))
