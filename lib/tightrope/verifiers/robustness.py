"""Is a network robust on a region? One decision per target label, each a proof, an attack, or an honest unknown."""

import warnings
from collections.abc import Iterable

from tightrope.networks import FeedForward, MonDEQ
from tightrope.question import DEFAULT, Limits, Question, Stop
from tightrope.regions import Region
from tightrope.verifiers.methods import METHODS, ORDERS, known_method, methods
from tightrope.verifiers.report import LabelDecision, RobustnessReport
from tightrope.verifiers.stages import run

__all__ = ["METHODS", "ORDERS", "LabelDecision", "RobustnessReport", "certify", "known_method", "methods"]


def certify(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    *,
    targets: Iterable[int] | str | None = None,
    method: str = "cascade",
    order: str = "1",
    complete: bool = True,
    attack: bool = True,
    limits: Limits = DEFAULT,
) -> RobustnessReport:
    """Decide for each target label whether it can reach the score of `label` on the region.

    Parameters
    ----------
    network, region
        The network, and a ball, zonotope, ellipsoid or polytope in its input units.
    label
        The true label y.
    targets
        Labels to decide, or "all". Left out, all others than y, but only until the question is answered: once an attack
        reaches a label, the cascade leaves the others as they are.
    method
        One of :func:`methods`. "cascade": for a monDEQ the closest label by the interior point, stopped at the first
        proof of the sign; the others by its multipliers (solvers.transfer) where they suffice, else by the interior
        point, warm-started; what that leaves open by branch and bound on phases (verifiers.phases), over balls of norm
        1, 2 and infinity. For a feed-forward network linear bounds, LP-ALL on boxes, Shor's relaxation, and on boxes
        branch and bound; where all labels are asked for and an attack reaches one, linear bounds only.
    order
        The order of Shor's relaxation, one of :data:`ORDERS`.
    complete
        Whether the cascade goes on to branch and bound; without it a label that relaxations leave open is unknown.
    attack
        Whether to attack first; a target that is reached needs no relaxation (the methods other than the cascade still
        solve it, for the value).
    limits
        Tolerance, seconds, seed and stop of the solves; the seconds are for one solve, and for one tree.

    Raises
    ------
    UnknownNameError, SolverUnavailableError, InputError
        Before any solve.

    Examples
    --------
    >>> from tightrope.regions import Ball
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> print(certify(network, Ball([0.0], 1.0, "inf"), 1, method="deepz").verdict)  # |x| < 1.5
    certified
    """
    question, chosen, order = Question(network, region, label, targets), known_method(network, method), str(order)
    chosen.check(question, order)
    return run(question, chosen.stages(network, complete), chosen.name, order, limits, attack)


def verify(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    *,
    tolerance: float = 1e-5,
    time_limit: float | None = None,
    seed: int = 0,
    stop: Stop | None = None,
    **options: object,
) -> RobustnessReport:
    """Do as :func:`certify`, which is its name now."""
    message = "robustness.verify is robustness.certify(..., limits=Limits(...)) now; `verify` checks certificate files"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return certify(network, region, label, limits=Limits(tolerance, time_limit, seed, stop), **options)  # type: ignore[arg-type]
