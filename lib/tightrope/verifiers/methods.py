"""The methods by which a network is certified, in one table: what each takes, what it refuses, how it decides.

Nothing here is imported before it is needed, as `tightrope certify --help` lists these names at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.names import known_name

if TYPE_CHECKING:
    from tightrope.networks import FeedForward, MonDEQ
    from tightrope.question import Question
    from tightrope.regions import Region
    from tightrope.verifiers.robustness import Progress

#: What decides some of the labels that are open.
Stage: TypeAlias = Callable[["Progress"], None]
#: Orders of Shor's relaxation. "1": the paper's model. "1+bounds": what that leaves open (with interior-point: every
#: label) is solved again with bounds on z and h. "1+cuts": and with products of facts (verifiers.tightening). "2":
#: Lasserre's order 2 of the problem with all products of facts, for at most six variables (relaxations.lasserre), by
#: Clarabel. The last three are for balls.
ORDERS = ("1", "1+bounds", "1+cuts", "2")
#: Hidden neurons of layers for which a method by Shor's relaxation is asked by name: beyond, hours and tens of GB.
LARGEST_ASKED = 2000


@dataclass(frozen=True)
class Method:
    """A way to decide a question.

    Its `name` is the key in :data:`METHODS`, as rows and reports spell it; `same` are other names; `about` is said
    where the name does not say it. What decides the labels of a monDEQ and of a feed-forward network, stage by stage,
    are `mondeq` and `layers`; nothing if the method is not for such networks. Then what it takes: the `orders` of
    Shor's relaxation; `boxes` only, which are balls of the maximum norm, of feed-forward networks; `relu` networks
    only; and the solver, a `package` that must be installed.
    """

    name: str
    about: str = ""
    mondeq: tuple[Stage, ...] = ()
    layers: tuple[Stage, ...] = ()
    same: tuple[str, ...] = ()
    orders: tuple[str, ...] = ("1",)
    boxes: bool = False
    package: str = ""
    relu: bool = False

    def stages(self, network: "MonDEQ | FeedForward", complete: bool = True) -> tuple[Stage, ...]:
        """Return what decides the labels of this network, if anything; without `complete` no tree, in the cascade."""
        own = self.layers if _has_layers(network) else self.mondeq
        return own if complete or self.name != "cascade" else tuple(stage for stage in own if stage not in _TREES)

    def has_tree(self, network: "MonDEQ | FeedForward", complete: bool = True) -> bool:
        """Say whether one of these stages grows a tree, which `Limits.trees` keeps."""
        return any(stage in _TREES for stage in self.stages(network, complete))

    def check(self, question: "Question", order: str) -> None:
        """Refuse what it does not take, before any solve: by a TightropeError that says what to write instead."""
        from tightrope.solvers import conic

        region, network = question.region, question.network
        if self.relu and _has_layers(network):
            cast("FeedForward", network).require_relu(f"method {self.name} is for")
        if order not in ORDERS:
            raise UnknownNameError("order", order, ORDERS)
        if order not in self.orders:
            takes = "Shor's relaxation by the methods cascade and interior-point"
            raise InputError(f"order: {order} goes with {takes}, not with {self.name}.")
        if order != "1":
            region.require_ball(f"bounds of order {order} are")
        if self.boxes and _has_layers(question.network) and question.box is None:
            raise RegionError(f"method: {self.name} is for boxes; give a Ball of norm inf, or another method.")
        if _has_layers(network) and self.layers == (_OF_LAYERS,) and question.neurons > LARGEST_ASKED:
            takes = f"{self.name} is for at most {LARGEST_ASKED} hidden neurons, not {question.neurons}"
            raise InputError(f"method: {takes}; take lp-all, or branch-and-bound.")
        if package := self.package or ("clarabel" if order == "2" else ""):
            conic.require(package)
        if order == "2":
            require_small(question.neurons, region)


def require_small(neurons: int, region: "Region") -> None:
    """Refuse, for order 2, what has too many variables."""
    from tightrope.relaxations.lasserre import LARGEST

    if neurons + region.size > LARGEST:
        raise InputError(
            f"order: 2 is for {LARGEST} neurons and inputs together, not {neurons} and {region.size}; use 1+cuts."
        )


def _by(module: str, stage: str, *rest: object) -> Stage:
    """Return a stage that imports what it is made with when it is run."""

    def run(progress: "Progress") -> None:
        getattr(import_module(f"tightrope.verifiers.{module}"), stage)(progress, *rest)

    return run


_SHOR, _OF_LAYERS = _by("mondeq", "by_shor"), _by("feedforward", "by_shor")
_TREE, _MILP = _by("feedforward", "by_tree"), _by("feedforward", "by_milp")
_PHASES = _by("phases", "by_phases")
_TREES = (_TREE, _PHASES)


def _unless_answered(progress: "Progress") -> None:
    """Nothing more, if the targets were left out and an attack reaches a label: the question is answered."""
    if progress.question.everything and progress.attacks:
        progress.end("not pursued, as another label is reached")


def _solved(name: str, about: str = "", *same: str, orders: tuple[str, ...] = ("1",), package: str = "") -> Method:
    """Shor's relaxation, solved to the tolerance; of layers for the same function as a monDEQ."""
    return Method(name, about, (_SHOR,), (_OF_LAYERS,), same, orders, package=package, relu=True)


def _bounded(name: str, about: str = "", *same: str, boxes: bool = False) -> Method:
    """Linear bounds, of all labels at once."""
    return Method(name, about, (), (_by("feedforward", "by_lines", name),), same, boxes=boxes)


_EVERYTHING = "everything below, from the cheapest to the tightest, until the answer is known"
#: The stages of the cascade on layers: linear bounds from the cheapest (none is always tighter than another), Shor's
#: relaxation, and what is exact on boxes.
_LINES = tuple(_by("feedforward", "by_lines", name) for name in ("box", "crown", "deepz"))
_CASCADE = (*_LINES, _unless_answered, _by("feedforward", "by_lp_all"), _OF_LAYERS, _TREE)

_METHODS = (
    Method("cascade", _EVERYTHING, (_unless_answered, _SHOR, _PHASES), _CASCADE, orders=ORDERS),
    _solved("interior-point", "or shor", "shor", orders=ORDERS),
    _solved("clarabel", package="clarabel"),
    _solved("scs", package="scs"),
    _solved("mosek", package="mosek"),
    Method("branch-and-bound", "on the signs of neurons", (_PHASES,), (_TREE,), boxes=True, relu=True),
    _bounded("box", "", "ibp"),
    _bounded("hbox"),
    _bounded("hbox_back"),
    _bounded("crown_ibp", "CROWN-IBP (R)", "crown_ibp_r"),
    _bounded("deepz", "", "cap", "fast_lin", "neurify"),
    _bounded("crown", "", "deeppoly"),
    _bounded("crown_0"),
    _bounded("lp-greedy", boxes=True),
    _bounded("lp-last", boxes=True),
    _bounded("lp-all", boxes=True),
    Method("milp", "whose verdict is never certified but computed", (), (_MILP,), boxes=True, relu=True),
)
#: All methods by name, those that every network knows first.
METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _METHODS})


def methods(network: "MonDEQ | FeedForward | None" = None) -> tuple[str, ...]:
    """Return the names of the methods for a network; without one, of those that every network knows."""
    if network is None:
        return tuple(method.name for method in _METHODS if method.mondeq and method.layers)
    return tuple(method.name for method in _METHODS if method.stages(network))


def known_method(network: "MonDEQ | FeedForward", method: str) -> Method:
    """Return the method for this network that is meant, however it is written: LP-ALL, lp_all, lp-all."""
    from tightrope.arguments import require_network

    require_network(network)
    same = {other: known.name for known in _METHODS for other in known.same}
    return METHODS[known_name("method", method, methods(network), same)]


def _has_layers(network: object) -> bool:
    from tightrope.networks import FeedForward

    return isinstance(network, FeedForward)
