"""The largest margin of a small monDEQ over a box as a mixed-integer program, solved by HiGHS."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from tightrope.networks import MonDEQ
from tightrope.propagation.fixpoint import Box
from tightrope.regions import Ball
from tightrope.solvers.mixed_integer import MixedReport, maximise


def largest_margin(
    network: MonDEQ, region: Ball, label: int, target: int, bounds: Box, time_limit: float | None = None
) -> MixedReport:
    """Maximise F_target - F_label over x, z = ReLU(h), h = W z + U x + u and binary a, by big M from l <= h <= u.

    z >= 0, z >= h, z <= u a and z <= h - l (1 - a): for a = 1 these say z = h >= 0, for a = 0 they say z = 0 >= h.
    """
    p, p0 = network.width, network.input_size
    low, high = np.minimum(bounds.lower, 0), np.maximum(bounds.upper, 0)
    eye = sp.eye_array(p)
    of_z, of_x = sp.csr_array(np.eye(p) - network.W), sp.csr_array(network.U)  # z - h = (I - W) z - U x - u
    matrix = sp.vstack(
        [
            sp.hstack([-of_x, of_z, sp.csr_array((p, p))]),
            sp.hstack([sp.csr_array((p, p0)), eye, -sp.diags_array(high)]),
            sp.hstack([-of_x, of_z, -sp.diags_array(low)]),
        ]
    )
    rows_low = np.concatenate([network.u, np.full(2 * p, -np.inf)])
    rows_high = np.concatenate([np.full(p, np.inf), np.zeros(p), network.u - low])
    ends = region.bounding_box()
    xi = network.C[target] - network.C[label]
    report = maximise(
        np.concatenate([np.zeros(p0), xi, np.zeros(p)]),
        matrix,
        rows_low,
        rows_high,
        np.concatenate([ends[0], np.zeros(2 * p)]),
        np.concatenate([ends[1], high, np.ones(p)]),
        np.concatenate([np.zeros(p0 + p, bool), np.ones(p, bool)]),
        time_limit=time_limit,
    )
    constant = network.c[target] - network.c[label]
    return replace(report, bound=report.bound + constant)
