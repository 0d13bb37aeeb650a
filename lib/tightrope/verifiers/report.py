"""What every verifier answers: a verdict, what it cost, a row for each label or part, and the files that prove it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    :meth:`to_dict` tells the `facts`, in this order, and what there are `several` of, such as labels: the attribute,
    its name, and what is told of each. `sides` says which of these numbers are bounds, and from which side.
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
        """Return the file that proves what is known of one label; an InputError if nothing is that has one."""
        raise InputError(f"certificate: a {type(self).__name__} has none by label; ask for certificates().")

    def certificates(self) -> proofs.Proof:
        """Return one file of all that is proven; an InputError if nothing is that has one."""
        raise InputError(f"certificates: there are none of a {type(self).__name__}.")


class LipschitzReport(Report):
    """A bound of the Lipschitz constant of a map, its `subject`, with one norm on both sides."""

    if TYPE_CHECKING:  # fields of some answers, properties of others

        @property
        def norm(self) -> float: ...

        @property
        def value(self) -> float | None: ...

    @property
    def subject(self) -> str:
        """The map, in words."""
        return "F"

    @property
    def headline(self) -> str:
        """The constant in words, rounded outward."""
        q = "L-inf" if self.norm == INFINITY else f"L{self.norm:g}"
        where = "for all inputs" if getattr(self, "region", None) is None else "on the region"
        side = self.sides["value"]
        words = {"upper": "at most ", "lower": "at least "}.get(side, "")
        known = "" if self.value is None else f"{words}{outward(side)(self.value)}, "
        return f"Lipschitz constant of {self.subject} ({q}, {where}): {known}{self.verdict}"


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

    `nominal_margin` is that at the region's centre, `attack_margin` the largest that the attack found, None without
    one. CERTIFIED is proven below 0, COMPUTED below 0 by a solver's word, FALSIFIED reached by an attack, UNKNOWN and
    FAILED have a `reason`. `bound` is proven, or None if none was computed; when a solve stops at the sign it is not
    the tightest one. What proves it: `dual`, multipliers of order 1 to 1+cuts; `proof`, the file of order 2; or, if the
    label is certified, the leaves of the `tree` of branch and bound on phases. `gap` is that of the solver, None
    without a solve.
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

    def bounded(self, bound: float, **more: Any) -> "LabelDecision":
        """Return the decision with a proven bound, and the verdict that follows from its sign."""
        verdict, reason = (Verdict.CERTIFIED, "") if bound < 0 else (Verdict.UNKNOWN, NOT_CERTIFIED)
        return replace(replace(self, verdict=verdict, bound=bound, reason=reason), **more)

    @property
    def provable(self) -> bool:
        """Whether there is what a certificate file needs; of layers it is made anew."""
        return bool(self.dual or self.proof or (self.tree and self.verdict is Verdict.CERTIFIED))


def label_table(decisions: Iterable[LabelDecision]) -> tuple[_Names, list[tuple[object, ...]]]:
    """Return the headers and a row for each label; bounds are rounded outward, a column without content is left out."""
    columns = ("label", "at the image", "attack", "bound", "verdict", "by", "reason")
    rows: list[tuple[object, ...]] = []
    for own in decisions:
        attack = None if own.attack_margin is None else float(at_least(own.attack_margin, 3))
        bound = None if own.bound is None else float(at_most(own.bound, 3))
        rows.append((own.label, round(own.nominal_margin, 2), attack, bound, own.verdict.value, own.by, own.reason))
    kept = [i for i in range(len(columns)) if any(row[i] not in ("", None) for row in rows)]
    return tuple(columns[i] for i in kept), [tuple(row[i] for i in kept) for row in rows]


#: What JSON tells of a label.
_TOLD = (
    *("label", "verdict", "bound", "gap", "solver", "method", "iterations", "seconds"),
    *("nominal_margin", "attack_margin", "reason"),
)


@dataclass(frozen=True, eq=False, repr=False)
class RobustnessReport(Report):
    """The decisions of all target labels, in their order, and what follows from them.

    `predicted` is the label at the region's centre; `attack` the clearest point with another label, or None.
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
        """Return the file that proves what is known of one target label: its bound, or the attack that reaches it."""
        if self.attack is not None and self.attack.label == label:
            return self._of_attack(self.attack)
        known = sorted(decision.label for decision in self.decisions if decision.provable)
        if isinstance(self.network, MonDEQ) and label not in known:
            raise InputError(f"label: got {label!r}; the labels with a certificate are {known}.")
        return self._of([decision for decision in self.decisions if decision.label == label])

    def certificates(self) -> proofs.Proof:
        """Return one file: that of the attack if there is one, else for all target labels that have a certificate.

        Of a feed-forward network these are the labels that are certified, or if none is, those with a bound
        (:func:`tightrope.verifiers.feedforward.certificates`). An InputError if there is neither; a CertificateError if
        the checker cannot read the network's or the region's numbers.
        """
        return self._of(self.decisions) if self.attack is None else self._of_attack(self.attack)

    def _of(self, decisions: Sequence[LabelDecision]) -> proofs.Proof:
        """Return one file of what proves the bounds of some labels."""
        if isinstance(self.network, FeedForward):
            from tightrope.verifiers import feedforward

            return feedforward.certificates(self, decisions)
        known = [decision.dual for decision in decisions if decision.dual is not None]
        if trees := {own.label: own.tree for own in decisions if own.tree and own.verdict is Verdict.CERTIFIED}:
            grown = [(target, tree.bound, tree.signs, tree.multipliers) for target, tree in trees.items()]
            return proofs.trees(self.question, next(iter(trees.values())).invariant, grown, known)
        if second := [decision.proof for decision in decisions if decision.proof is not None]:  # a file is of one order
            rest = (Question(self.network, self.region, self.label, [dual.target]) for dual in known)
            return gram_proofs.joined([*second, *map(gram_proofs.margin, rest)])
        if known:
            return proofs.margins(self.question, known)
        raise InputError("certificates: no label of this report has one.")

    def _of_attack(self, hit: Attack) -> proofs.Proof:
        if isinstance(self.network, FeedForward):
            from tightrope import relu_proofs  # which needs PyTorch: seconds to import

            return relu_proofs.attack(self.question, hit)
        return proofs.attack(self.question, hit)


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that follows from those of several labels or cases, which is that of the weakest.

    One attack falsifies; a failure is reported before an unknown, and an unknown before what is computed only.
    """
    known = set(verdicts)
    order = (Verdict.FALSIFIED, Verdict.FAILED, Verdict.UNKNOWN, Verdict.COMPUTED)
    return next((verdict for verdict in order if verdict in known), Verdict.CERTIFIED)
