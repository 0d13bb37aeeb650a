"""Attacks: points of a region that a network labels wrongly.

An :class:`Attack` is evidence, whatever found it: its point is moved into the region to where membership is certain
(`holds`), its margin is that of the network there, in float64, and nothing else is returned. Two searches: Foolbox's
projected gradient descent, as the papers use it, and :func:`pgd`, which aims at every label from several starting
points.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tightrope.errors import ConvergenceError, InputError, RegionError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.question import Question

#: From x (N, p0) to values (N,) and their gradients (N, p0).
_Ascent = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

#: Residual of the equilibria inside the search; what is returned is evaluated to the networks' own tolerance.
SEARCH_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Attack:
    """A point of a region whose true label does not win.

    The `point` (p0,), in network-input units, is in the region exactly; in a flat zonotope or ellipsoid, up to its
    coordinates' rounding. There `label` wins over the true one by the `margin` F_label - F_true, at least 0.
    """

    point: np.ndarray
    label: int
    margin: float


#: Residuals of a monDEQ's equilibrium, relative as in :meth:`MonDEQ.equilibrium`: the next one where a sign is open.
RESIDUALS = (1e-10, 1e-13, 1e-16)


@dataclass(frozen=True, eq=False)
class PGDResult:
    """What a targeted search found.

    `attacks` has, for each target whose logit reached that of the true label, the point with the largest margin;
    `best_margin` (K,) the largest F_t - F_true found in the region, a lower bound of the maximum, nan for labels that
    were not searched.
    """

    attacks: Mapping[int, Attack]
    best_margin: np.ndarray

    @property
    def best(self) -> Attack | None:
        """The attack with the largest margin, or None."""
        return max(self.attacks.values(), key=lambda attack: attack.margin, default=None)


def check(question: Question, points: ArrayLike) -> Attack | None:
    """Return the most clearly wrong of these points (N, p0) or (p0,) at which a target wins, or None.

    Points outside the region by more than rounding do not count, nor do scores that are not finite; the others are
    moved into it, and their margins are computed anew in float64.
    """
    region, label = question.region, question.label
    rows = np.atleast_2d(np.asarray(points, dtype=np.float64))
    rows = rows[np.isfinite(rows).all(-1)]
    rows = region.inwards(rows[region.contains(rows)])
    rows = rows[region.holds(rows)]
    if not len(rows):
        return None
    margins = _margins(question.network, label, rows)
    asked = np.isin(np.arange(margins.shape[1]), question.targets)
    margins = np.where(asked & np.isfinite(margins), margins, -np.inf)
    row, target = np.unravel_index(np.argmax(margins), margins.shape)
    if margins[row, target] < 0:
        return None
    return Attack(rows[row].copy(), int(target), float(margins[row, target]))


def margins_at(network: MonDEQ | FeedForward, label: int, point: np.ndarray) -> np.ndarray:
    """F_k - F_label (K,) at a point (p0,), or for a monDEQ a lower bound: less its equilibrium's error."""
    return _margins(network, label, np.asarray(point, float)[None])[0]


def pgd(question: Question, *, restarts: int = 5, steps: int = 50, seed: int = 0) -> PGDResult:
    """Maximise F_t - F_label over the region for each target t by projected gradient ascent.

    There are `restarts` starts for each target: the region's centre, and random points of it, by `seed`. Steps follow
    the direction of steepest ascent in the region's norm, with a length that falls from the diameter to a hundredth of
    it. All targets and starts run as one batch, and each equilibrium starts at that of the step before.
    """
    network, region, label = question.network, question.region, question.label
    if restarts < 1 or steps < 0:
        raise InputError(f"restarts={restarts}, steps={steps}: give restarts >= 1 and steps >= 0.")
    if not question.targets:
        return PGDResult({}, np.full(network.classes, np.nan))
    if region.generators is not None:
        moved = network.after(region.center, region.generators)
        within = Question(moved, region.parameters, label, question.targets)
        inner = pgd(within, restarts=restarts, steps=steps, seed=seed)
        aims = {target: Question(network, region, label, [target]) for target in inner.attacks}  # and no other label
        found = {target: check(aims[target], region.at(hit.point)) for target, hit in inner.attacks.items()}
        return PGDResult({target: hit for target, hit in found.items() if hit is not None}, inner.best_margin)
    points = region.inwards(ascend(question, restarts, steps, seed))  # (targets, restarts, p0)
    margins = _margins(network, label, points.reshape(-1, region.size)).reshape(*points.shape[:2], -1)
    margins = np.where(region.holds(points)[..., None] & np.isfinite(margins), margins, -np.inf)
    attacks, best_margin = {}, np.full(network.classes, np.nan)
    for i, target in enumerate(question.targets):
        margin = margins[i, :, target]
        row = int(np.argmax(margin))
        if np.isfinite(margin[row]):
            best_margin[target] = margin[row]
        if margin[row] >= 0:
            attacks[target] = Attack(points[i, row].copy(), target, float(margin[row]))
    return PGDResult(attacks, best_margin)


def ascend(question: Question, restarts: int, steps: int, seed: int = 0) -> np.ndarray:
    """Return the best point of each start of :func:`pgd`, (targets, restarts, p0), whether it is an attack or not."""
    region, targets = question.region.parameters, question.targets
    starts = np.vstack([region.center, region.sample(restarts - 1, np.random.default_rng(seed))])
    x = np.tile(starts, (len(targets), 1))  # row r of target i: i * restarts + r
    ascent = _ascent(question.network, question.label, np.repeat(targets, restarts))
    value, gradient = ascent(x)
    best_value, best_x = value, x
    for step in range(steps):
        length = region.diameter * 0.01 ** (step / max(1, steps - 1))
        x = region.retract(x + length * region.steepest(x, gradient))
        value, gradient = ascent(x)
        improved = value > best_value
        best_value = np.where(improved, value, best_value)
        best_x = np.where(improved[:, None], x, best_x)
    return best_x.reshape(len(targets), restarts, -1)


def batched_pgd(
    network: FeedForward,
    center: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    labels: np.ndarray,
    *,
    step: float | np.ndarray,
    steps: int = 100,
    seed: int = 0,
) -> np.ndarray:
    """Which of N boxes hold a point with another label, as far as untargeted signed gradient ascent finds out: (N,).

    Images `center` and boxes `lower`, `upper` (N, p0) are in network-input units, as is the length of a `step`, in all
    directions or in each (p0,). There is one random start in each box, then steps along the sign of the cross-entropy's
    gradient, cut to the box. The search is in float32; what it finds counts only if the point, put into the box in
    float64, is labelled wrongly by :meth:`FeedForward.logits`. An image stops when it is broken, at once if it is
    labelled wrongly itself.
    """
    import torch

    from tightrope.networks import to_module

    labels = np.asarray(labels)
    broken = _mislabelled(network, center, labels)
    module = to_module(network).float().requires_grad_(False)
    start = np.random.default_rng(seed).uniform(lower, upper)
    points, low, high = (torch.tensor(rows, dtype=torch.float32) for rows in (start, lower, upper))
    y = torch.tensor(labels)
    length: Any = torch.tensor(step, dtype=torch.float32) if np.ndim(step) else step
    for _ in range(steps):
        rows = np.flatnonzero(~broken)
        if not len(rows):
            break
        inputs = points[rows].requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(module(inputs), y[rows], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, inputs)
        moved = inputs.detach() + length * gradient.sign()
        points[rows] = moved = torch.minimum(torch.maximum(moved, low[rows]), high[rows])
        with torch.no_grad():
            seen = rows[(module(moved).argmax(1) != y[rows]).numpy()]
        if len(seen):
            inside = np.clip(points[seen].double().numpy(), lower[seen], upper[seen])
            broken[seen] = _mislabelled(network, inside, labels[seen])
    return broken


def _mislabelled(network: FeedForward, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows (N, p0) that get another label, (N,) of bool; scores that are not finite show nothing."""
    scores = network.logits(points)
    return np.isfinite(scores).all(1) & (scores.argmax(1) != labels)


def _margins(network: MonDEQ | FeedForward, label: int, points: np.ndarray) -> np.ndarray:
    """F_k - F_label for all k, (N, K); of a monDEQ less what its computed equilibrium may be off by.

    Where that leaves the sign open, the equilibrium is computed again to a smaller residual.
    """
    if not isinstance(network, MonDEQ):
        logits = network.logits(points)
        return logits - logits[:, [label]]
    least = np.empty((len(points), network.classes))
    rows = np.arange(len(points))
    for tolerance in RESIDUALS:
        try:
            margins, error = network.margins(points[rows], label, tolerance=tolerance)
        except ConvergenceError:
            if tolerance == RESIDUALS[0]:
                raise
            break
        least[rows] = margins - error
        unsure = (margins + error >= 0) & (margins - error < 0)
        unsure[:, label] = False  # F_label - F_label is 0
        rows = rows[unsure.any(1)]
        if not len(rows):
            break
    return least


def _ascent(network: MonDEQ | FeedForward, label: int, targets: np.ndarray) -> _Ascent:
    """Return a function of x (N, p0): F_t - F_label (N,) and its gradient (N, p0), row i for targets[i]."""
    if isinstance(network, FeedForward):
        import torch

        from tightrope.networks import to_module

        module, rows, aims = to_module(network), torch.arange(len(targets)), torch.as_tensor(targets)

        def by_autograd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            inputs = torch.tensor(x, requires_grad=True)
            logits = module(inputs)
            value = logits[rows, aims] - logits[:, label]
            (gradient,) = torch.autograd.grad(value.sum(), inputs)
            return value.detach().numpy(), gradient.numpy()

        return by_autograd
    g, offset = network.C[targets] - network.C[label], network.c[targets] - network.c[label]
    z: np.ndarray | None = None
    w: np.ndarray | None = None

    def ascent(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The equilibrium and its adjoint move little from step to step: start both where they were.
        nonlocal z, w
        z = network.equilibrium(x, z0=z, tolerance=SEARCH_TOLERANCE)
        w = network.adjoint(network.preactivation(x, z) > 0, g, w0=w, tolerance=1e-3)
        return (z * g).sum(-1) + offset, w @ network.U

    return ascent


def foolbox_pgd(question: Question, **options: Any) -> Attack | None:
    """Run :func:`foolbox_pgd_each` for one image."""
    return foolbox_pgd_each([question], **options)[0]


def foolbox_pgd_each(
    questions: Sequence[Question],
    *,
    steps: int | None = None,
    relative_step: float | None = None,
    random_start: bool = True,
    seed: int = 0,
) -> list[Attack | None]:
    """Run Foolbox's projected gradient descent (untargeted) for norm 1, 2 or infinity, image by image.

    Foolbox takes one radius and one pair of bounds for all inputs: the clipped region's pixel range, or a box that
    holds the whole ball when the region is not clipped. Images that share these are one batch. What it returns may lie
    outside by rounding, so it is projected onto the region and re-checked.

    `relative_step` is the length of a step relative to the radius; it and `steps` are Foolbox's defaults if left out.
    Without `random_start` it starts at the centre.
    """
    import foolbox
    import torch

    from tightrope.networks import to_module

    kinds: dict[float, Any] = {
        1.0: foolbox.attacks.L1ProjectedGradientDescentAttack,
        2.0: foolbox.attacks.L2ProjectedGradientDescentAttack,
        np.inf: foolbox.attacks.LinfProjectedGradientDescentAttack,
    }
    batches: dict[tuple, list[int]] = {}
    for i, question in enumerate(questions):
        region = question.region.require_ball("Foolbox's PGD is")
        if region.norm not in kinds:
            raise RegionError(f"norm: Foolbox's PGD knows 1, 2 and inf, not {region.norm:g}; use attacks.pgd.")
        lower, upper = region.lower, region.upper
        if lower is None or upper is None:
            lower, upper = region.bounding_box()
        # A hair wider, so that the bounds hold the centre after rounding; the result is re-checked without it.
        bounds = (float(lower.min()) - 1e-9, float(upper.max()) + 1e-9)
        batches.setdefault((question.network, region.norm, region.radius, bounds), []).append(i)
    modules = {network: to_module(network).eval() for network in {question.network for question in questions}}
    found: list[Attack | None] = [None] * len(questions)
    given = {k: v for k, v in (("steps", steps), ("rel_stepsize", relative_step)) if v is not None}
    for (network, norm, radius, bounds), rows in batches.items():
        if not radius > 0:
            for i in rows:
                found[i] = check(questions[i], questions[i].region.center)
            continue
        model = foolbox.PyTorchModel(modules[network], bounds=bounds, device="cpu")
        attack = kinds[norm](**given, random_start=random_start)
        with torch.random.fork_rng(devices=[]):  # Foolbox draws from torch's global generator
            torch.manual_seed(seed)
            centers = torch.tensor(np.array([questions[i].region.center for i in rows]))
            goal = foolbox.Misclassification(torch.tensor([questions[i].label for i in rows]))
            points = attack(model, centers, goal, epsilons=[radius])[1][0].detach().double().numpy()
        for i, point in zip(rows, points, strict=True):
            found[i] = check(questions[i], questions[i].region.require_ball("this is").project(point))
    return found
