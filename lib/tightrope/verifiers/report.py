"""What every verifier answers: a verdict, what it cost, a row for each label or part, and the files that prove it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tightrope import gram_proofs, proofs
from tightrope.attacks import Attack
from tightrope.cells import as_html, as_text, number, numeric
from tightrope.errors import InputError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.outward import at_least, at_most, outward
from tightrope.question import Question, Verdict
from tightrope.regions import INFINITY, Region

if TYPE_CHECKING:
    from tightrope.verifiers.phases import Tree

#: Reasons of decisions on which nothing better can be said.
NOTHING, NOT_CERTIFIED = "nothing was tried", "not certified by this relaxation"
_Names = tuple[str, ...]


class Report:
    """An answer; what the command line prints of it, notebooks show and Python has comes from here.

    Every answer has a `verdict` and `seconds`; those with labels have their `decisions`, and the `attack` or None. Its
    `repr` is one line; `print` shows the table too, as the command line does, and a notebook draws it.

    Attributes
    ----------
    facts
        What :meth:`to_dict` tells, in this order.
    several
        What there are several of, such as labels: the attribute, its name in `to_dict`, and what is told of each.
    sides
        Which of these numbers are bounds, and from which side.
    """

    facts: ClassVar[_Names] = ("verdict", "seconds")
    several: ClassVar[tuple[str, str, _Names] | None] = None
    sides: ClassVar[Mapping[str, str]] = {"bound": "upper", "value": "upper", "upper": "upper", "lower": "lower"}
    if TYPE_CHECKING:  # fields of some answers, properties of others

        @property
        def verdict(self) -> Verdict | str: ...

        @property
        def seconds(self) -> float: ...

    @property
    def headline(self) -> str:
        """The answer in one line."""
        return str(self.verdict)

    @property
    def assumed(self) -> str:
        """What the reader of the network had to assume of it; empty if nothing."""
        return getattr(getattr(self, "network", None), "assumed", "")

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as text, numbers, truth values, lists and None, such as JSON has."""
        told = {name: _plain(getattr(self, name)) for name in self.facts}
        if self.assumed:
            told["assumed"] = self.assumed
        if self.several is not None:
            attribute, name, own = self.several
            told[name] = [{key: _plain(getattr(part, key)) for key in own} for part in getattr(self, attribute)]
        return told

    def table(self) -> tuple[_Names, list[tuple[object, ...]]]:
        """Return the headers and the rows of a table for people: a row for each part, or for each fact.

        Facts and columns of which there is nothing to say are left out.
        """
        told = self.to_dict()
        if self.several is None:
            rows = [(name, self._shown(name, value)) for name, value in told.items()]
            return ("", "value"), [row for row in rows if row[1] not in ("", None)]
        _, name, own = self.several
        own = tuple(key for key in own if any(part[key] not in ("", None) for part in told[name]))
        return own, [tuple(self._shown(key, part[key]) for key in own) for part in told[name]]

    def _shown(self, name: str, value: object) -> object:
        """Return a cell for people: a bound is rounded outward."""
        if isinstance(value, list | dict):
            parts = [f"{key} {own}" for key, own in value.items()] if isinstance(value, dict) else map(str, value)
            return ", ".join(parts)
        return float(outward(self.sides[name])(value)) if isinstance(value, float) and name in self.sides else value

    def _lines(self) -> tuple[list[list[str]], list[bool]]:
        """Return the table's cells, the header first, and which columns stand to the right."""
        columns, rows = self.table()
        lines = [list(columns), *([number(cell) for cell in row] for row in rows)]
        return lines, numeric(lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline}>"

    def __str__(self) -> str:
        return "\n".join([*self._above(), as_text(*self._lines())])

    def _repr_html_(self) -> str:
        return "".join([*(f"<p>{escape(line)}</p>" for line in self._above()), as_html(*self._lines())])

    def _above(self) -> list[str]:
        return [self.headline, *([f"assumed: {self.assumed}"] if self.assumed else [])]

    def certificate(self, label: int) -> proofs.Proof:
        """Return the file that proves what is known of one label.

        Raises
        ------
        InputError
            Nothing is known of it that has a certificate.
        """
        raise InputError(f"certificate: a {type(self).__name__} has none by label; ask for certificates().")

    def certificates(self) -> proofs.Proof:
        """Return one file of all that is proven.

        Raises
        ------
        InputError
            Nothing is that has a certificate.
        """
        raise InputError(f"certificates: there are none of a {type(self).__name__}.")


def lipschitz_constant(
    what: str, norm: float, value: float | None, verdict: object, side: str = "upper", region: Region | None = None
) -> str:
    """Return the constant of a map in words, a bound rounded outward."""
    q = "L-inf" if norm == INFINITY else f"L{norm:g}"
    where = "for all inputs" if region is None else "on the region"
    words = {"upper": "at most ", "lower": "at least "}.get(side, "")
    known = "" if value is None else f"{words}{outward(side)(value)}, "
    return f"Lipschitz constant of {what} ({q}, {where}): {known}{verdict}"


def _plain(value: object) -> Any:
    """Return a value as JSON has it, where infinity is a word."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(own) for name, own in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return [_plain(own) for own in value] if isinstance(value, tuple | list) else value


@dataclass(frozen=True, eq=False)
class LabelDecision:
    """What is known of max F_label - F_y over the region.

    Attributes
    ----------
    label
        The target label.
    nominal_margin
        F_label - F_y at the region's centre.
    attack_margin
        The largest F_label - F_y that the attack found, or None without an attack.
    verdict
        CERTIFIED (proven below 0), COMPUTED (below 0 by a solver's word), FALSIFIED (an attack is known), UNKNOWN or
        FAILED; `reason` says why.
    bound
        Proven upper bound, or None if none was computed. When a solve stops at the sign it is not the tightest one.
    method, solver, iterations, gap, seconds
        Who decided, and at what cost; gap is that of the solver, None without a solve.
    dual, proof
        What proves `bound`: the multipliers of order 1 to 1+cuts, or the file of order 2; None without.
    tree
        What branch and bound on phases found, or None; its leaves prove `bound` if the label is certified.
    """

    label: int
    nominal_margin: float
    attack_margin: float | None = None
    verdict: Verdict = Verdict.UNKNOWN
    bound: float | None = None
    method: str = ""
    solver: str = ""
    gap: float | None = None
    iterations: int = 0
    seconds: float = 0.0
    reason: str = NOTHING
    dual: proofs.DualBound | None = field(default=None, repr=False)
    proof: proofs.Proof | None = field(default=None, repr=False)
    tree: "Tree | None" = field(default=None, repr=False)

    @property
    def by(self) -> str:
        """Who decided, in words, without the version."""
        name = self.solver.split(" ")[0]
        return self.method if name in ("", "pgd", self.method) else f"{self.method}, {name}"


def label_table(decisions: Iterable[LabelDecision]) -> tuple[_Names, list[tuple[object, ...]]]:
    """Return the headers and a row for each label; bounds are rounded outward, a column without reasons is left out."""
    columns = ("label", "at the image", "attack", "bound", "verdict", "by", "reason")
    rows = [
        (
            decision.label,
            round(decision.nominal_margin, 2),
            None if decision.attack_margin is None else float(at_least(decision.attack_margin, 3)),
            None if decision.bound is None else float(at_most(decision.bound, 3)),
            decision.verdict.value,
            decision.by,
            decision.reason,
        )
        for decision in decisions
    ]
    width = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    return columns[:width], [row[:width] for row in rows]


#: What JSON tells of a label.
_TOLD = (
    *("label", "verdict", "bound", "gap", "solver", "method", "iterations", "seconds"),
    *("nominal_margin", "attack_margin", "reason"),
)


@dataclass(frozen=True, eq=False, repr=False)
class RobustnessReport(Report):
    """The decisions of all target labels and what follows from them.

    Attributes
    ----------
    question
        What was asked.
    method
        The name of the method.
    predicted
        The label at the region's centre.
    decisions
        In the order of the labels.
    attack
        The clearest point with another label, or None.
    """

    verdict: Verdict
    seconds: float
    question: Question
    method: str
    predicted: int
    decisions: tuple[LabelDecision, ...]
    attack: Attack | None
    facts = ("method", "label", "predicted", "verdict", "seconds")
    several = ("decisions", "labels", _TOLD)

    @property
    def network(self) -> MonDEQ | FeedForward:
        """The network that was asked about."""
        return self.question.network

    @property
    def region(self) -> Region:
        """The region that was asked about."""
        return self.question.region

    @property
    def label(self) -> int:
        """The true label."""
        return self.question.label

    @property
    def headline(self) -> str:
        """The verdict, with the label and the one at the region's centre."""
        return f"label {self.label}, predicted {self.predicted}: {self.verdict}"

    def table(self) -> tuple[_Names, list[tuple[object, ...]]]:
        """Return the headers and a row for each label."""
        return label_table(self.decisions)

    def certificate(self, label: int) -> proofs.Proof:
        """Return the file that proves what is known of one target label: its bound, or the attack that reaches it.

        Raises
        ------
        InputError
            The label was not asked for, or nothing is known of it that has a certificate.
        """
        if self.attack is not None and self.attack.label == label:
            return self._of_attack(self.attack)
        if isinstance(self.network, FeedForward):
            return self._of_layers([decision for decision in self.decisions if decision.label == label])
        decision = next((own for own in self.decisions if own.label == label), None)
        if decision is not None and decision.proof is not None:
            return decision.proof
        if decision is not None and (tree := _proven(decision)) is not None:
            return self._with_trees([], {label: tree})
        known = {dual.target: dual for dual in self._known()}
        if label not in known:
            others = (own.label for own in self.decisions if own.proof is not None or _proven(own) is not None)
            labels = sorted([*known, *others])
            raise InputError(f"label: got {label!r}; the labels with a certificate are {labels}.")
        return proofs.margins(self.question, [known[label]])

    def certificates(self) -> proofs.Proof:
        """Return one file: that of the attack if there is one, else for all target labels that have a certificate.

        Of a feed-forward network these are the labels that are certified, or if none is, those with a bound
        (:func:`tightrope.verifiers.feedforward.certificates`).

        Raises
        ------
        InputError
            There is neither.
        CertificateError
            The checker cannot read the network's or the region's numbers.
        """
        if self.attack is not None:
            return self._of_attack(self.attack)
        if isinstance(self.network, FeedForward):
            return self._of_layers(self.decisions)
        known = self._known()
        second = [decision.proof for decision in self.decisions if decision.proof is not None]
        trees = {own.label: tree for own in self.decisions if (tree := _proven(own)) is not None}
        if trees:
            return self._with_trees(known, trees)
        if second:  # a file is of one order
            rest = (Question(self.network, self.region, self.label, [dual.target]) for dual in known)
            return gram_proofs.joined([*second, *map(gram_proofs.margin, rest)])
        if known:
            return proofs.margins(self.question, known)
        raise InputError("certificates: no label of this report has one.")

    def _with_trees(self, known: list[proofs.DualBound], trees: "dict[int, Tree]") -> proofs.Proof:
        """Return one file for dual bounds and trees, which a monDEQ has over balls."""
        grown = [(target, tree.bound, tree.signs, tree.multipliers) for target, tree in trees.items()]
        invariant = next(iter(trees.values())).invariant
        return proofs.trees(self.question, invariant, grown, known)

    def _known(self) -> list[proofs.DualBound]:
        return [decision.dual for decision in self.decisions if decision.dual is not None]

    def _of_attack(self, hit: Attack) -> proofs.Proof:
        if isinstance(self.network, FeedForward):
            from tightrope import relu_proofs  # which needs PyTorch: seconds to import

            return relu_proofs.attack(self.question, hit)
        return proofs.attack(self.question, hit)

    def _of_layers(self, decisions: Sequence[LabelDecision]) -> proofs.Proof:
        """Return the file of the bounds of some labels of a feed-forward network."""
        from tightrope.verifiers import feedforward

        return feedforward.certificates(self, decisions)


def _proven(decision: LabelDecision) -> "Tree | None":
    """Return the tree that proves a label's bound, if one does."""
    return decision.tree if decision.verdict is Verdict.CERTIFIED else None


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that follows from those of several labels or cases, which is that of the weakest.

    One attack falsifies; a failure is reported before an unknown, and an unknown before what is computed only.
    """
    known = set(verdicts)
    order = (Verdict.FALSIFIED, Verdict.FAILED, Verdict.UNKNOWN, Verdict.COMPUTED)
    return next((verdict for verdict in order if verdict in known), Verdict.CERTIFIED)
