"""General conic solvers: multipliers of the right sign, limits, and licences."""

import importlib.metadata
import sys

import cvxpy
import numpy as np
import pytest

from tests.helpers import program, question
from tightrope.errors import SolverUnavailableError, UnknownNameError
from tightrope.regions import INFINITY
from tightrope.solvers import conic
from tightrope.solvers.report import Status
from tightrope.solvers.sound import sound_bound


def licensed() -> bool:
    try:
        conic.require("mosek")
    except SolverUnavailableError:
        return False
    return True


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
def test_multipliers_prove_the_value(solver, norm):
    _, relaxed, data = program(*question(0, norm))
    report = conic.solve(relaxed, solver, tolerance=1e-7)
    assert report.status == Status.SOLVED and report.solver == solver
    assert report.version == importlib.metadata.version(solver)
    assert (report.multipliers[~relaxed.constraints.equality] >= -1e-4).all()
    proven = sound_bound(data, relaxed.objective, report.multipliers).value
    assert proven == pytest.approx(report.primal_value, abs=1e-3)


def test_a_time_limit_is_a_status_and_not_a_warning():
    _, relaxed, _ = program(*question(0, INFINITY, 3.0, p=12, p0=12))
    report = conic.solve(relaxed, "scs", tolerance=1e-12, time_limit=0.01)
    assert report.status in (Status.TIME_LIMIT, Status.FAILED)


@pytest.mark.parametrize(
    "error", [cvxpy.SolverError("no"), type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})()]
)
def test_a_broken_solve_is_a_failure_and_not_a_crash(error, monkeypatch):
    _, relaxed, _ = program(*question(0, INFINITY))

    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(cvxpy.Problem, "solve", broken)
    report = conic.solve(relaxed, "clarabel")
    assert report.status == Status.FAILED and report.multipliers is None and np.isnan(report.dual_value)


def test_other_errors_are_not_hidden(monkeypatch):
    _, relaxed, _ = program(*question(0, INFINITY))

    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cvxpy.Problem, "solve", broken)
    with pytest.raises(KeyboardInterrupt):
        conic.solve(relaxed, "clarabel")


def test_unknown_solver():
    with pytest.raises(UnknownNameError, match="mosek"):
        conic.require("mosec")


@pytest.mark.parametrize("solver", ["clarabel", "scs", "mosek"])
def test_a_missing_package_is_named(solver, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(SolverUnavailableError, match=f"{solver}.*not installed"):
        conic.require(solver)


@pytest.mark.skipif(licensed(), reason="MOSEK has a licence here")
def test_mosek_without_a_licence_is_named_before_any_solve(monkeypatch):
    _, relaxed, _ = program(*question(0, INFINITY))
    monkeypatch.setattr(cvxpy.Problem, "solve", lambda *a, **k: pytest.fail("solved"))
    with pytest.raises(SolverUnavailableError, match="mosek"):
        conic.solve(relaxed, "mosek")


@pytest.mark.parametrize("message", ["", "broken\ninstallation"])
def test_a_broken_mosek_is_named(message, monkeypatch):
    """Whatever the licence check raises, also at import, also without a message."""

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(message)

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    monkeypatch.setitem(sys.modules, "mosek", Broken())
    with pytest.raises(SolverUnavailableError, match="licence"):
        conic.require("mosek")
    monkeypatch.setitem(sys.modules, "mosek", None)
    with pytest.raises(SolverUnavailableError, match="mosek"):
        conic.require("mosek")


@pytest.mark.skipif(not licensed(), reason="needs a MOSEK licence")
def test_mosek_agrees():
    _, relaxed, data = program(*question(0, INFINITY))
    mosek, clarabel = (conic.solve(relaxed, solver) for solver in ("mosek", "clarabel"))
    assert mosek.dual_value == pytest.approx(clarabel.dual_value, abs=1e-4)
    assert sound_bound(data, relaxed.objective, mosek.multipliers).value == pytest.approx(mosek.dual_value, abs=1e-3)


def test_mosek_gets_its_own_options():
    options = conic._options("mosek", 1e-6, 10.0)
    assert options["mosek_params"] == {"MSK_DPAR_INTPNT_CO_TOL_REL_GAP": 1e-6, "MSK_DPAR_OPTIMIZER_MAX_TIME": 10.0}
