"""One case after the other: what is asked of a case, and in which surroundings."""

import warnings

import numpy as np

from tests.soundness import feedforward, mondeq, nonlinear
from tests.soundness.bed import Bed
from tests.soundness.cases import case
from tests.soundness.pieces import TooMany
from tightrope.threads import one_blas_thread

COMPARE = {"feedforward": feedforward.compare, "mondeq": mondeq.compare, "nonlinear": nonlinear.compare}


def run_case(seed: int, number: int) -> Bed:
    """Make all comparisons of a case; none where it has more pieces than can be enumerated."""
    asked = case(seed, number)
    bed = Bed(case=asked)
    with warnings.catch_warnings(), np.errstate(all="ignore"), one_blas_thread():
        warnings.simplefilter("ignore")  # overflow and underflow are what some families are about
        try:
            COMPARE[asked.kind](asked, bed)
        except TooMany:
            bed.refused["enumeration"] += 1
    return bed
