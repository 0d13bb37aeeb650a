"""Sound bounds from proposed multipliers of HR-d and of the sparse Lasserre hierarchy.

With y_k >= 0 on inequalities, Gram matrices G >= 0 and free tau, every point of the set satisfies

    f <= f + sum_k y_k g_k + sum_b q_b(w),    q_b = sum of squares times constraints + tau (equalities),

since all added terms are >= 0 (or 0) there. The right side is a quadratic form in v = (1, variables) plus monomials
of degree 3 and more in the forms w of a subset, |w_i| <= 1, which cost their coefficients. The quadratic form is
bounded as Shor's dual is (:func:`tightrope.solvers.sound.sound_bound`), or entry by entry where no dense matrix is in
the relaxation.
"""

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.relaxations.lasserre import semidefinite_part
from tightrope.relaxations.shor import MomentProgram
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.conic import MomentMultipliers
from tightrope.solvers.sound import sound_bound

#: Of sums of at most some hundred terms in float64, a hundred times over.
ROUNDING = 1e-12


def proven_bound(
    program: MomentProgram, found: MomentMultipliers, scale: np.ndarray | None = None, off: float = 0.0
) -> float | None:
    """Return the upper bound that the multipliers prove, whatever their quality; None if they prove nothing.

    `scale` (N,) are bounds of |v_i| on the set, needed where the program has no dense matrix; `off` is how far its
    forms, of size at most 1, can be from exact ones: monomials of degree 2 d are off by 2 d times as much, and so is
    every term.
    """
    first_order = found.report.multipliers
    if first_order is None:
        return None
    degree = max((int(block.monomials.sum(1).max()) for block in program.blocks), default=2)
    rounding = ROUNDING + (degree + 0.1) * off
    c = program.constraints
    total, size = sp.csr_array(program.objective), abs(program.objective)
    high, noise = 0.0, 0.0
    for block, grams, free in zip(program.blocks, found.grams, found.free, strict=True):
        q, magnitude = np.zeros(len(block.monomials)), np.zeros(len(block.monomials))
        for A, gram in zip(block.psd, grams, strict=True):
            G = semidefinite_part(gram)
            q += A @ G.ravel()
            magnitude += abs(A) @ np.abs(G).ravel()
        if block.equalities.shape[1]:
            q += block.equalities @ free
            magnitude += abs(block.equalities) @ np.abs(free)
        high += float(np.abs(q[block.low :]).sum())
        noise += rounding * float(magnitude.sum())
        total, size = total + block.quadratic(q), size + block.quadratic(magnitude)
    if not np.isfinite(high + noise):
        return None
    if program.dense:
        data = ArrowData(c, core=tuple(c.blocks))
        shor = sound_bound(data, sp.csr_array(total), first_order)
        if shor is None:
            return None
        noise += 4.1 * off * float(np.abs(first_order).sum())
        return float(shor.value + high + noise + rounding * float(np.abs(size.data).sum()) * c.squared_norm)
    if scale is None:
        raise InputError("scale: a program without a dense matrix needs bounds of its variables.")
    y = np.where(c.equality, first_order, np.maximum(first_order, 0))
    rest = (total + c.matrix(y)).toarray()
    weight = np.outer(scale, scale)
    spare = np.abs(rest) * weight
    sizes = (size + c.absolute_matrix(y)).toarray() * weight
    # v_0 v_0 = 1: its coefficient is the bound, the others cost what they can be.
    bound = float(rest[0, 0] + spare.sum() - spare[0, 0] + high + noise + rounding * sizes.sum())
    return bound if np.isfinite(bound) else None
