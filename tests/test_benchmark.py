"""The solver benchmark: problems, rivals under the same bound, benchopt, and what is reported."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fits
from benchmark_utils import compiled, ours
from benchmark_utils.problems import BOUND, BOUNDED, PROBLEMS, Problem
from benchmark_utils.recording import Stopped
from benchmark_utils.smooth_ball import coordinates_of, place_of

BENCHMARK = Path(__file__).parent.parent / "examples" / "benchmark"


class Watch:
    """The networks that a solver reports, up to a number of them."""

    def __init__(self, problem, at_most):
        self.problem, self.left, self.found = problem, at_most, []

    def __call__(self, objective, parameters):
        self.found.append((objective, parameters()))
        self.left -= 1
        if self.left == 0:
            raise Stopped


def short(name):
    """A bounded problem with fewer rows."""
    whole = PROBLEMS[name].build()
    rows = (whole.X[:120], whole.Y[:120], (0,))
    return PROBLEMS[name]._replace(load=lambda: rows)


def torch_runs():
    torch_training = pytest.importorskip("benchmark_utils.torch_training")

    def adam(problem, initial, record):
        settings = {"method": "Adam", "learning_rate": 0.05, "schedule": "cosine"}
        # its steps shrink with the clock: on a busy machine thirty of them take more than a second
        torch_training.train(problem, initial, record, seconds=60.0, **settings)

    return {"Adam": adam, "PyTorch L-BFGS": torch_training.lbfgs}


def test_the_smooth_ball_has_its_gradient_and_its_inverse():
    rng = np.random.default_rng(0)
    M, C, D = rng.normal(size=(3, 5, 8))
    # equal singular values, where the divided differences would be 0/0
    for coordinates in (M, np.hstack([np.eye(5), M[:, 5:]]), 0.0 * M):
        place = place_of(coordinates, BOUND)
        assert np.linalg.norm(place.hidden_layer[:, :5], 2) < BOUND
        step = 1e-6 * D
        difference = place_of(coordinates + step, BOUND).hidden_layer
        difference = (difference - place_of(coordinates - step, BOUND).hidden_layer) / 2e-6
        assert np.vdot(C, difference) == pytest.approx(np.vdot(place.pull_back(C), D), abs=1e-8)
        again = coordinates_of(place.hidden_layer, BOUND)
        np.testing.assert_allclose(again, coordinates, atol=1e-12)
    rim = np.hstack([BOUND * np.eye(5), M[:, 5:]])
    assert np.linalg.norm(place_of(coordinates_of(rim, BOUND), BOUND).hidden_layer[:, :5]) > 0.99
    assert place_of(M, np.inf).hidden_layer is M and place_of(M, np.inf).pull_back(C) is C


@pytest.mark.parametrize("name", ["slow-ar2", "simulated-tanks", "volatility-r8-bounded"])
def test_every_rival_reports_its_r_and_keeps_to_the_bound(name):
    specification = short(name)
    problem, initial = specification.build(), specification.initial(1)
    rivals = {
        "L-BFGS-B": compiled.lbfgs,
        "variable projection": compiled.variable_projection,
        "Levenberg-Marquardt": compiled.levenberg_marquardt,
        "safeguarded": ours.safeguarded,
        **torch_runs(),
    }
    start = problem.objective(initial)
    for rival, minimise in rivals.items():
        watch = Watch(problem, 30)
        with suppress(Stopped):
            minimise(problem, initial, watch)
        for objective, parameters in watch.found:
            assert np.linalg.norm(parameters.W, 2) <= BOUND * (1.0 + 1e-9), rival
            assert objective == pytest.approx(problem.objective(parameters), rel=1e-6), rival
        assert min(objective for objective, _ in watch.found) < 0.95 * start, rival


def test_the_exact_jacobian_is_that_of_the_residuals(monkeypatch):
    specification = short("slow-ar2")
    problem, initial = specification.build(), specification.initial(0)
    caught = {}

    def check(residuals, start, jacobian, **_):
        step = np.random.default_rng(0).normal(size=len(start))
        ahead, behind = residuals(start + 1e-6 * step), residuals(start - 1e-6 * step)
        caught["difference"] = np.abs((ahead - behind) / 2e-6 - jacobian(start) @ step).max()

    monkeypatch.setattr(compiled, "least_squares", check)
    compiled.levenberg_marquardt(problem, initial, lambda *_: None)
    assert caught["difference"] < 1e-7


def test_kinks_that_depend_on_each_other_along_time_end_certified():
    """With each slope changed by itself no step lowered R, at a residual of .005."""
    assert fits.fit(fits.Task("slow-ar2", "relu", 3))["status"] == "CONVERGED"


def test_the_paper_reports_the_networks_whose_r_it_is():
    problem, initial = PROBLEMS["synthetic-10"].build(), PROBLEMS["synthetic-10"].initial(0)
    watch = Watch(problem, 5)
    with pytest.raises(Stopped):
        ours.paper(problem, initial, watch)
    for objective, parameters in watch.found:
        assert objective == pytest.approx(problem.objective(parameters))


def test_problems_are_the_same_every_time_and_starts_differ_by_seed():
    for name, specification in PROBLEMS.items():
        if specification.is_large or not specification.is_available:
            continue
        first, again = specification.build(), specification.build()
        np.testing.assert_array_equal(first.X, again.X)
        np.testing.assert_array_equal(first.Y, again.Y)
        starts = [specification.initial(seed) for seed in (0, 0, 1)]
        assert np.array_equal(starts[0].W, starts[1].W)
        assert not np.allclose(starts[0].W, starts[2].W)
        assert np.isfinite(first.objective(starts[0])), name
    assert all(problem.max_recurrence == BOUND for problem in BOUNDED.values())


def test_the_macroeconomic_problem_is_short_and_collinear():
    X = PROBLEMS["macro"].load()[0]
    assert len(X) < 250 and np.linalg.cond(X) > 100.0


def test_a_problem_whose_file_is_not_there_says_so():
    missing = Problem(PROBLEMS["macro"].load, 1, 1.0, file="no_such_file.csv")
    assert not missing.is_available and PROBLEMS["macro"].is_available


@pytest.mark.slow
def test_benchopt_runs_it_and_the_report_prints_the_table(tmp_path, run_main):
    pytest.importorskip("benchopt")
    results = tmp_path / "results.parquet"
    command = [sys.executable, "-m", "benchopt", "run", str(BENCHMARK)]
    command += ["--config", str(BENCHMARK / "run.yml"), "--n-repetitions", "1", "--no-cache"]
    command += ["-o", "R[seconds=0.3]", "--output", str(results)]
    for name in ("unbounded[problem=synthetic-10]", "bounded[problem=slow-ar2]"):
        command += ["-d", name]
    for name in ("safeguarded", "L-BFGS-B", "variable projection", "paper"):
        command += ["-s", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(results)
    # every solver's curve begins at the same start
    for _, of_problem in rows.groupby("p_dataset_problem"):
        assert of_problem.groupby("solver_name")["objective_value"].first().nunique() == 1
    bounded = rows[rows["p_dataset_problem"] == "slow-ar2"]
    assert bounded["objective_recurrence"].max() <= BOUND * (1.0 + 1e-9)
    assert "paper" not in set(bounded["solver_name"])

    printed = run_main("report", results, "--output", tmp_path)
    assert "| synthetic-10 |" in printed and "slow-ar2: compiled" in printed
    table = pd.read_csv(tmp_path / "benchmark.csv")
    assert (table["R at the end"] > 0.0).all() and table["merit objective"].notna().all()
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000


@pytest.mark.slow
def test_how_fits_end_is_written_and_goes_on_where_it_stopped(tmp_path, run_main):
    arguments = ["--quick", "--problems", "synthetic-10", "--output", tmp_path]
    printed = run_main("fits", *arguments)
    table = pd.read_csv(tmp_path / "fits.csv")
    assert len(table) == 3 and table["is_finite"].all()
    before = (tmp_path / "fits.jsonl").read_text()
    assert run_main("fits", *arguments) == printed
    assert (tmp_path / "fits.jsonl").read_text() == before


def test_the_timings_that_asv_follows_can_be_taken(monkeypatch):
    from asv_benchmarks import forecaster, package, solver

    for suite in (solver.Pieces, forecaster.Forecaster, forecaster.Update):
        instance = suite()
        first = instance.params[0]
        first = first[0] if isinstance(first, list) else first
        instance.setup(first)
        for name in dir(suite):
            if name.startswith("time_"):
                getattr(instance, name)(first)
    assert "import" in package.timeraw_import_forecaster() + package.timeraw_import_solver()
