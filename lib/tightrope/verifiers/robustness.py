"""Is a network robust on a region? One decision per target label, each a proof, an attack, or an honest unknown.

:func:`verify` takes every kind of network; the work is done by :mod:`tightrope.verifiers.mondeq` and
:mod:`tightrope.verifiers.feedforward`.
"""

from collections.abc import Iterable
from functools import partial

from tightrope.arguments import require_network
from tightrope.names import known_name
from tightrope.networks import FeedForward, MonDEQ
from tightrope.regions import Region
from tightrope.solvers.report import Stop
from tightrope.verifiers.mondeq import METHODS, ORDERS, SAME, verify_mondeq
from tightrope.verifiers.report import LabelDecision, RobustnessReport

__all__ = ["METHODS", "ORDERS", "LabelDecision", "RobustnessReport", "methods", "verify"]


def methods(network: MonDEQ | FeedForward) -> tuple[str, ...]:
    """Return the names that :func:`verify` takes as `method` for this network."""
    if isinstance(network, FeedForward):
        from tightrope.verifiers import feedforward  # which needs PyTorch: seconds to import

        return feedforward.METHODS
    return METHODS


def known_method(network: MonDEQ | FeedForward, method: str) -> str:
    """Return the one of :func:`methods` that is meant, however it is written: LP-ALL, lp_all, lp-all.

    Raises
    ------
    UnknownNameError
    """
    require_network(network)
    same = SAME
    if isinstance(network, FeedForward):
        from tightrope.verifiers import feedforward

        same = feedforward.SAME
    return known_name("method", method, methods(network), same)


def verify(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    *,
    targets: Iterable[int] | None = None,
    method: str = "cascade",
    order: str = "1",
    complete: bool = True,
    attack: bool = True,
    tolerance: float = 1e-5,
    time_limit: float | None = None,
    seed: int = 0,
    stop: Stop | None = None,
) -> RobustnessReport:
    """Decide for each target label whether it can reach the score of `label` on the region.

    Parameters
    ----------
    network, region
        The network, and a ball, zonotope, ellipsoid or polytope in its input units.
    label
        The true label y.
    targets
        Labels to decide; all others than y by default.
    method
        "cascade": the closest label by the interior point, stopped at the first proof of the sign; the others by its
        multipliers (solvers.transfer) where they suffice, else by the interior point, warm-started; what that leaves
        open by branch and bound on phases (verifiers.phases), over balls of norm 1, 2 and infinity.
        "interior-point", "scs", "clarabel", "mosek": Shor's relaxation solved to `tolerance` by that solver.
        For feed-forward networks "cascade" starts with linear bounds, and the names of
        :data:`tightrope.propagation.lines.RELAXATIONS` (box, deepz, crown, ...) are methods too; see
        :func:`tightrope.verifiers.feedforward.verify_feedforward`.
    order
        "1": Shor's relaxation, the paper's model. "1+bounds": what that leaves open (with method interior-point: every
        label) is solved again with bounds on z and h. "1+cuts": and with products of facts (verifiers.tightening).
        These two are for balls, with the methods cascade and interior-point. "2": Lasserre's order 2 of the problem
        with all products of facts, for balls and at most six variables (relaxations.lasserre), by Clarabel; its proof
        has no certificate.
    complete
        Whether the cascade goes on to branch and bound; without it a label that the relaxation leaves open is unknown.
    attack
        Whether to attack first; a target that is reached needs no relaxation (the methods other than the cascade still
        solve it, for the value).
    tolerance
        Relative gap of a solve.
    time_limit
        Seconds for one solve, and for one tree; :data:`tightrope.verifiers.phases.PATIENCE` for a tree by default.
    seed
        For the attack.
    stop
        Asked between the iterations of a solve and before each target (Clarabel, SCS and MOSEK cannot be asked inside
        a solve); True ends everything with a :class:`StoppedError`: for a question that nobody waits for any more.

    Raises
    ------
    UnknownNameError, SolverUnavailableError, InputError
        Before any solve.
    """
    method = known_method(network, method)
    if isinstance(network, FeedForward):
        from tightrope.verifiers.feedforward import verify_feedforward

        decide = partial(verify_feedforward, network)
    else:
        decide = partial(verify_mondeq, network)
    return decide(
        region,
        label,
        targets=targets,
        method=method,
        order=order,
        complete=complete,
        attack=attack,
        tolerance=tolerance,
        time_limit=time_limit,
        seed=seed,
        stop=stop,
    )
