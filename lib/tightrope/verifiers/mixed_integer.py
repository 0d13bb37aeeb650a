"""The exact verifier of Tjeng et al. (2019): a mixed-integer program for each label, with HiGHS.

Robust here means that HiGHS finds no point with a margin above -TOLERANCE: the solver's word, not a proof of ours, so
that the verdict is COMPUTED and never CERTIFIED. Points that HiGHS finds are checked and are attacks like all others.
:mod:`tightrope.verifiers.branch_and_bound` answers the same question with bounds that are proven.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.propagation.certify import composition_error
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.question import DEFAULT, Limits, Question, Verdict
from tightrope.relaxations.binary import BinaryProgram, binary_program
from tightrope.solvers.mixed_integer import maximise
from tightrope.solvers.report import Status
from tightrope.verifiers.report import Report

#: Margins above minus this count as reached: HiGHS's own tolerances are 1e-6.
TOLERANCE = 1e-5
#: Entries that HiGHS may take for 0, and those with which its 1e-6 is no longer small.
SMALL, LARGE = 1e-7, 1e5


@dataclass(frozen=True, eq=False, repr=False)
class MixedInteger(Report):
    """What the programs found: COMPUTED, FALSIFIED with the attack, UNKNOWN or FAILED with the reason.

    The `attack` is re-checked by :func:`tightrope.attacks.check`; `binaries` counts unstable neurons. The `bounds` are
    HiGHS's upper bounds of F_k - F_label by label k, plus TOLERANCE for what its own tolerances hide; -inf where no
    point has a margin above -TOLERANCE. COMPUTED needs bounds below 0.
    """

    verdict: Verdict
    attack: Attack | None
    binaries: int
    bounds: dict[int, float]
    seconds: float
    reason: str = ""
    facts = ("verdict", "reason", "binaries", "bounds", "seconds")


def mixed_integer(
    question: Question,
    limits: Limits = DEFAULT,
    *,
    hidden: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
    sign: bool = True,
) -> MixedInteger:
    """Decide whether the label wins against all targets on the whole box, a ball of the maximum norm, clipped or not.

    The time of `limits` is for all labels together; at the limit the verdict is UNKNOWN. `hidden` are proven bounds of
    the hidden layers, sequences of (n_l,), :func:`hidden_bounds` if left out. With `sign` it is only asked whether a
    margin of 0 is reached; otherwise the largest margins are computed.
    """
    network, label = question.layers, question.label
    network.require_relu("mixed-integer programs are of")
    box = question.region.require_box("the mixed-integer program is")
    began = time.perf_counter()
    hidden = hidden or hidden_bounds(question)
    W, b = network.layers[-1].dense()
    inexact = composition_error(network, box).max(initial=0.0)
    finite = all(np.isfinite(layer).all() for side in hidden for layer in side)
    program = binary_program(network, *box.bounding_box(), *hidden) if finite else None
    bounds: dict[int, float] = {}

    def done(verdict: Verdict, reason: str = "", attack: Attack | None = None) -> MixedInteger:
        binaries = 0 if program is None else program.binaries
        return MixedInteger(verdict, attack, binaries, bounds, time.perf_counter() - began, reason)

    if program is None or _beyond(program, W) or not inexact < TOLERANCE / 10:
        return done(Verdict.UNKNOWN, "numbers beyond HiGHS's tolerances; scale the network's layers")
    verdict, reason = Verdict.COMPUTED, "HiGHS finds no point that reaches this label; nothing is proven"
    for target in question.targets:
        objective = np.zeros(len(program.lower))
        objective[program.activations] = W[target] - W[label]
        offset = b[target] - b[label]
        matrix, low, high = program.matrix, program.row_lower, program.row_upper
        if sign:
            matrix = sp.vstack([matrix, sp.csr_array(objective[None])])
            low, high = np.r_[low, -offset - TOLERANCE], np.r_[high, np.inf]
        # First any point with a margin of 0; where the one found is none after all, the largest margin.
        for aim in (np.zeros_like(objective), objective) if sign else (objective,):
            left = limits.after(time.perf_counter() - began).time
            report = maximise(aim, matrix, low, high, program.lower, program.upper, program.integral, time_limit=left)
            empty = report.feasible is False
            bounds[target] = -np.inf if empty else report.bound + offset + TOLERANCE if aim is objective else np.inf
            if report.point is not None:
                attack = attacks.check(question, box.project(report.point[program.inputs]))
                if attack is not None:
                    return done(Verdict.FALSIFIED, attack=attack)
            if empty or report.status is not Status.SOLVED:
                break
        if report.status is Status.FAILED:
            return done(Verdict.FAILED, report.reason)
        if report.status is Status.TIME_LIMIT:
            return done(Verdict.UNKNOWN, f"time limit of {limits.time:g} s")
        if not bounds[target] < 0:
            verdict, reason = Verdict.UNKNOWN, "a margin within HiGHS's tolerance of 0"
    return done(verdict, reason)


def hidden_bounds(question: Question) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return proven bounds of each hidden layer, lists of (n_l,) arrays: LP-ALL's, by the dual."""
    box = question.region.require_box("these bounds are")
    triangles = layerwise(question.layers, InputSet.from_balls([box]), question.label).triangles
    return [t[0].numpy() for t in triangles.lower], [t[0].numpy() for t in triangles.upper]


def _beyond(program: BinaryProgram, W: np.ndarray) -> bool:
    """Return whether HiGHS's tolerances, 1e-6 of a row and 1e-9 of an entry, can hide a margin of TOLERANCE.

    A row is met up to 1e-6, so entries that are large enlarge that; entries that are small are dropped or not priced,
    together with whatever the column's values make of them.
    """
    reach = np.maximum(np.abs(program.lower), np.abs(program.upper))
    matrix = abs(sp.csr_array(program.matrix))
    small = matrix.copy()
    small.data = np.where(small.data <= SMALL, small.data, 0.0)
    last = np.abs(W)
    lost = np.r_[small @ reach, np.where(last <= SMALL, last, 0.0) @ reach[program.activations]]
    largest = max(matrix.data.max(initial=0.0), last.max())  # without hidden layers the matrix has no rows
    return bool(largest > LARGE or lost.max() > TOLERANCE / 10)
