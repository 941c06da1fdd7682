"""How a fit ends and what can be watched: statuses, warnings, logs, histories."""

import logging
import os
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from sktime_alm import ALMElmanForecaster
from sktime_alm.solver import ALMSettings, Status, solve, train
from tests.conftest import make_case
from tests.test_alm import make_start

Y = pd.Series(np.sin(np.arange(40.0)), index=pd.period_range("2000-01", periods=40, freq="M"))


@pytest.fixture(autouse=True)
def ctrl_c():
    """As at a terminal, also where the tests run in the background, which ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_every_status_is_a_sentence():
    for status in Status:
        assert status.value.endswith(".") and " " in status.value
        assert str(status) == f"{status.name}: {status.value}"


def test_no_progress_ends_a_fit_that_is_frozen():
    # a penalty that soars freezes the iterates at feasible points that are not KKT
    case = make_case(T=20, seed=1)
    settings = ALMSettings(penalty_update_factor=30.0, max_iter=500, patience=10)
    result = solve(case.problem, make_start(case), settings)
    assert result.status is Status.NO_PROGRESS
    assert not result.certificate.is_kkt and result.certificate.relative_feasibility < 1e-3
    frame = result.history.to_frame()
    for measure in ("objective", "kkt_residual"):
        earlier, recent = frame[measure][:-10].min(), frame[measure][-10:].min()
        assert recent >= 0.999 * earlier
    longer = solve(
        case.problem,
        make_start(case),
        ALMSettings(penalty_update_factor=30.0, max_iter=60, patience=None),
    )
    assert longer.status is Status.MAX_ITER and longer.n_iter == 60


def test_a_converged_fit_says_so_even_when_the_callback_stops_it():
    case = make_case(T=15, alpha=2.0, seed=5)
    settings = ALMSettings(tolerance=1e6)
    result = solve(case.problem, make_start(case), settings, callback=lambda record: True)
    assert result.status is Status.CONVERGED and result.n_iter == 1


def test_the_papers_step_rule_only_sweeps_more():
    case = make_case(T=10, alpha=50.0, seed=3)
    common = {"max_iter": 3, "max_inner_iter": 2000, "inner_tolerance": 0.5}
    by_stationarity = solve(case.problem, make_start(case), ALMSettings(**common))
    by_step = solve(case.problem, make_start(case), ALMSettings(inner_stop="step", **common))
    first = [result.history[0].n_sweeps for result in (by_stationarity, by_step)]
    assert first[0] <= first[1]


def test_history_to_frame():
    case = make_case()
    result = solve(case.problem, make_start(case), ALMSettings(max_iter=5, tolerance=0.0))
    frame = result.history.to_frame()
    assert frame.index.name == "iteration" and list(frame.index) == [1, 2, 3, 4, 5]
    assert list(frame.columns) == list(result.history[0]._fields[1:])
    assert list(frame["penalty"]) == [record.penalty for record in result.history]
    assert result.history[-1].kkt_residual == result.certificate.residual


def interrupt_at(iteration):
    """Send this process the signal of Ctrl-C."""

    def callback(record):
        if record.iteration == iteration:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


def test_an_interrupt_ends_a_fit_with_the_best_network_so_far():
    case = make_case()
    problem, initial = case.problem, make_start(case)
    result = solve(
        problem,
        initial,
        ALMSettings(max_iter=10**6, patience=None, tolerance=0.0),
        interrupt_at(3),
    )
    assert result.status is Status.INTERRUPTED and result.n_iter == 3
    assert result.objective == problem.objective(result.parameters)
    assert result.objective <= problem.objective(initial)


def test_an_interrupt_ends_all_starts():
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    seen = []

    def callback(record):
        seen.append(record)
        if len(seen) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    result = train(
        X,
        Z,
        3,
        settings=ALMSettings(max_iter=3, tolerance=0.0),
        n_init=4,
        random_state=0,
        callback=callback,
    )
    assert result.status is Status.INTERRUPTED
    assert [start.status for start in result.starts] == [Status.MAX_ITER, Status.INTERRUPTED]
    assert result.objective == min(start.objective for start in result.starts)


def test_an_interrupted_forecaster_is_fitted_and_usable():
    forecaster = ALMElmanForecaster(
        hidden_size=3,
        # nothing is trained to the end before, to be chosen
        alpha=1.0,
        max_iter=10**6,
        random_state=0,
        callback=interrupt_at(2),
        solver_options=ALMSettings(tolerance=0.0, patience=None),
    )
    with pytest.warns(ConvergenceWarning, match="INTERRUPTED.*best network so far is kept"):
        forecaster.fit(Y)
    assert forecaster.is_fitted and forecaster.result_.status is Status.INTERRUPTED
    assert np.isfinite(forecaster.predict(fh=[1, 2])).all()


BRIEF = {"max_inner_iter": 1, "active_set": False, "n_relaxations": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_iter": 1, "solver_options": BRIEF},
            "MAX_ITER.*Raise max_iter.*certificate_ says how far",
        ),
        (
            {
                "max_iter": 300,
                "solver_options": ALMSettings(penalty_update_factor=100.0),
            },
            "NO_PROGRESS.*the penalty grew faster.*smaller initial_penalty",
        ),
    ],
)
def test_a_fit_that_did_not_converge_warns_with_what_to_change(options, message):
    with pytest.warns(ConvergenceWarning, match=message):
        ALMElmanForecaster(hidden_size=3, alpha=0.01, random_state=0, **options).fit(Y)


def test_a_converged_fit_does_not_warn(recwarn):
    forecaster = ALMElmanForecaster(
        hidden_size=2, solver_options={"tolerance": 0.5}, random_state=0
    ).fit(Y)
    assert forecaster.result_.status is Status.CONVERGED
    assert forecaster.certificate_.is_kkt
    assert not recwarn.list


def test_a_fit_that_rests_above_the_tolerance_says_so(monkeypatch):
    def at_rest(*arguments, **options):
        result = train(*arguments, **options)
        far = replace(result.certificate, relative_stationarity=1.0)
        return replace(result, status=Status.AT_REST, certificate=far)

    monkeypatch.setattr("sktime_alm.trainer.train", at_rest)
    with pytest.warns(ConvergenceWarning, match="AT_REST.*another random_state"):
        ALMElmanForecaster(hidden_size=2, alpha=1.0, random_state=0).fit(Y)


def test_verbose_2_logs_a_line_an_iteration(caplog, capsys):
    forecaster = ALMElmanForecaster(
        hidden_size=2,
        solver_options=ALMSettings(),
        alpha=1.0,
        max_iter=3,
        verbose=2,
        random_state=0,
    )
    with caplog.at_level(logging.INFO, logger="sktime_alm"):
        forecaster.fit(Y)
    assert len(caplog.records) == 3
    assert "objective" in caplog.text and "KKT residual" in caplog.text
    assert capsys.readouterr().out == ""
