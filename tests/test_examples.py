"""The example scripts: what they print beside every error."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from sktime_alm.datasets import make_elman

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_of(study, start, train, test, method="GD", variant="fair"):
    task = study.Task("sp500", method, variant, "Glorot", start)
    return study.outcome(task, (train, test), 1.0, [(0.5, train, test)])


def test_checks_17_simple_forecasts_stand_beside_the_errors_of_the_paper():
    from reproduction.study import DATA_SEED, load, references

    y, X, _ = make_elman(standardize=True, random_state=DATA_SEED)
    y, X = y.to_numpy(), X.to_numpy()
    found = references(load("synthetic-10"))
    squares = np.sum(y**2, axis=1)
    assert found["zero"] == pytest.approx((squares[:9].mean(), squares[9]))
    assert found["persistence"][1] == pytest.approx(np.sum((y[9] - y[8]) ** 2))
    regression = LinearRegression().fit(X[:9], y[:9])
    residuals = np.sum((y - regression.predict(X)) ** 2, axis=1)
    assert found["OLS on the same inputs"] == pytest.approx((residuals[:9].mean(), residuals[9]))
    # nine rows for nine coefficients would be no regression
    assert "OLS on the inputs and the last value" not in found


def test_alm_is_trained_from_the_start_of_its_task_and_its_curve_is_kept():
    from reproduction.study import PAPER, SAFEGUARDED, Task, initial_weights, load, train_alm

    zero = float(np.mean(np.sum(load("synthetic-10").Y[:9] ** 2, axis=1)))
    for method in (PAPER, SAFEGUARDED):
        run = train_alm(Task("synthetic-10", method, "", "Glorot", 0))
        again = train_alm(Task("synthetic-10", method, "", "Glorot", 0))
        assert (run["train"], run["test"]) == (again["train"], again["test"])
        assert run["train"] < 0.2 * zero and run["curve"][-1][1] < 0.2 * zero
        seconds = [at for at, _, _ in run["curve"]]
        assert seconds == sorted(seconds) and seconds[-1] <= run["seconds"]
        assert not train_alm(Task("synthetic-10", method, "", "Glorot", 1), quick=True)["curve"]
    tasks = [Task("sp500", "GD", "fair", "He", start) for start in (0, 0, 1)]
    first, same, other = (initial_weights(task).W for task in tasks)
    assert np.array_equal(first, same) and not np.allclose(first, other)


def test_no_start_is_the_teacher():
    from reproduction import study

    teacher = make_elman(**study.SYNTHETIC_500, random_state=study.DATA_SEED)[2]
    for start in range(max(study.STARTS[study.PAPER].values())):
        task = study.Task("synthetic-500", study.PAPER, "", "N(0, 0.1)", start)
        drawn = study.initial_weights(task)
        assert abs(np.corrcoef(drawn.W.ravel(), teacher.W.ravel())[0, 1]) < 0.05


def test_divergence_is_counted_and_kept_out_of_the_means():
    from reproduction import report, study

    beside = pd.DataFrame([{"problem": "sp500", "forecast": "zero", "train": 1.0, "test": 1.0}])
    ends = [(0.25, 0.5), (0.75, 1.5), (np.nan, np.nan), (1e3, 0.5), (0.1, np.inf)]
    runs = [run_of(study, start, *end) for start, end in enumerate(ends)]
    row = report.summarise(runs, beside).iloc[0]
    assert (row["starts"], row["diverged"]) == (5, 3)
    assert (row["train"], row["test"]) == (0.5, 1.0)
    assert (row["published_train"], row["published_test"]) == (0.020, 0.206)
    assert report._cell(row) == "0.5 / 1 (3 of 5 diverged)"
    assert report._cell(report.summarise(runs[2:], beside).iloc[0]) == "3 of 3 diverged"


def test_figure_2_shows_the_initialization_of_the_smallest_test_error():
    from reproduction import report, study

    beside = pd.DataFrame([{"problem": "sp500", "forecast": "zero", "train": 1.0, "test": 1.0}])
    glorot = [run_of(study, start, 0.5, 0.5) for start in (0, 1)]
    he = [run | {"initialization": "He", "test": 0.4} for run in glorot]
    # one start of two has diverged: not the best, however good the other one
    lecun = [run | {"initialization": "LeCun", "test": 0.1} for run in glorot]
    lecun[1] = lecun[1] | {"test": None}
    runs = [*glorot, *he, *lecun]
    curves = report.curves_of(runs, report.summarise(runs, beside))
    assert set(curves["initialization"]) == {"He"} and len(curves) == 1


def test_the_transcribed_tables_are_whole_and_hold_the_zero_predictor():
    from reproduction.published import INITIALIZATIONS, published_errors, published_rates
    from reproduction.study import PROBLEMS

    for name in PROBLEMS:
        assert len(published_errors(name)) == 6 * len(INITIALIZATIONS)
        assert len(published_rates(name)) == 5 * len(INITIALIZATIONS)
        clipped = {key[0] for key, (_, norm) in published_rates(name).items() if norm is not None}
        assert clipped == {"GDC"}
    # outputs of variance 1 over all rows: 30 is what predicting 0 leaves of 30 of them
    for initialization in INITIALIZATIONS:
        train, test = published_errors("synthetic-500")["SGD", initialization]
        assert 0.9 * train + 0.1 * test == pytest.approx(30.0, rel=1e-4)


def test_the_compiled_gradient_is_that_of_torch_and_a_wrong_one_is_found_out(monkeypatch):
    pytest.importorskip("torch")
    from reproduction import gradient
    from reproduction.study import PROBLEMS

    for name in PROBLEMS:
        assert gradient.check_gradient(name) <= 1e-12
    exact = gradient.Backpropagation.__call__

    def inexact(self, batch, state):
        after = exact(self, batch, state)
        self.gradient.W[0, 0] += 1e-6
        return after

    monkeypatch.setattr(gradient.Backpropagation, "__call__", inexact)
    with pytest.raises(AssertionError, match="off PyTorch's"):
        gradient.check_gradient("synthetic-10")


def test_gradient_descent_takes_the_steps_of_torch_autograd():
    torch = pytest.importorskip("torch")
    from reproduction import gradient
    from reproduction.study import FAIR, PROBLEMS, Task, initial_weights, load

    task, rate, clip = Task("synthetic-10", "GDC", FAIR, "He", 3), 0.1, 0.5
    data = load("synthetic-10")
    problem = data.problem(PROBLEMS["synthetic-10"].alpha, 4)
    network = gradient.Elman(problem, initial_weights(task))
    optimiser = torch.optim.SGD(network.weights(), lr=rate)
    for _ in range(20):
        optimiser.zero_grad()
        network.objective().backward()
        torch.nn.utils.clip_grad_norm_(network.weights(), clip)
        optimiser.step()
    expected = data.errors(network.to_parameters())
    found, _, curve = gradient.descend(task, data, 1.2, rate, clip, 20, has_curve=True)
    assert found == pytest.approx(expected, rel=1e-9)
    assert curve[-1][1:] == pytest.approx(expected, rel=1e-9)


def test_the_learning_rate_is_chosen_without_the_test_rows(monkeypatch):
    pytest.importorskip("torch")
    from reproduction import gradient
    from reproduction.study import FAIR, LEARNING_RATES, Task

    task = Task("synthetic-10", "Adam", FAIR, "Glorot", 0)
    chosen = gradient.chosen_rate.__wrapped__(task, 100, None)
    assert chosen in LEARNING_RATES
    data = gradient.load("synthetic-10")
    blind = data._replace(Y=np.where(np.arange(10)[:, None] < 9, data.Y, np.nan))
    monkeypatch.setattr(gradient, "load", lambda name: blind)
    assert gradient.chosen_rate.__wrapped__(task, 100, None) == chosen


@pytest.mark.slow
def test_the_study_of_the_paper_writes_its_tables_and_resumes(tmp_path, run_main):
    pytest.importorskip("torch")
    from reproduction.study import load, references

    arguments = ["errors", "--quick", "--problems", "synthetic-10", "--output", tmp_path]
    printed = run_main("reproduce_paper", *arguments)
    table = pd.read_csv(tmp_path / "table_3.csv")
    assert len(table) == 5 * (2 + 2 * 6) and (table["starts"] == 1).all()
    train, test = references(load("synthetic-10"))["zero"]
    assert f"\n| zero | {train:.3g} / {test:.3g} |" in printed
    assert (tmp_path / "figure_2.png").stat().st_size > 10_000
    before = (tmp_path / "runs.jsonl").read_text()
    assert run_main("reproduce_paper", *arguments) == printed
    assert (tmp_path / "runs.jsonl").read_text() == before


def test_the_study_of_the_paper_says_that_it_needs_torch(tmp_path, monkeypatch):
    import reproduce_paper

    monkeypatch.delitem(sys.modules, "reproduction.gradient", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match=re.escape("pip install '.[benchmark]'")):
        reproduce_paper.errors(["synthetic-10"], True, tmp_path, tmp_path)


def test_the_page_on_the_paper_holds_the_tables_of_the_study():
    from reproduction import report
    from reproduction.study import PROBLEMS

    page = (EXAMPLES.parent / "docs" / "reproduction.md").read_text()
    table, references = report.read(EXAMPLES.parent / "docs" / "reproduction")
    for name in PROBLEMS:
        assert report.to_markdown(table, references, name) in page
    assert report.unexplained_to_markdown(table, references) in page


@pytest.mark.slow
def test_checks_17_the_volatility_example_compares_with_the_random_walk(tmp_path, run_main):
    picture = tmp_path / "picture.png"
    printed = run_main("sp500_volatility", "--months", "2", "--output", picture)
    rows = re.findall(r"^(\S.*?) +(\d\.\d{4}) (\d\.\d{4}) ", printed, re.MULTILINE)
    names = [name for name, _, _ in rows]
    assert names[0] == "random walk" and len(names) == 5
    assert names[-2:] == ["Elman network, defaults", "Elman network, settings chosen"]
    assert picture.stat().st_size > 10_000 and str(picture) in printed


def test_the_notebook_is_stored_as_one_run_from_top_to_bottom_without_warnings():
    cells = json.loads((EXAMPLES / "volatility_tutorial.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


@pytest.mark.slow
def test_the_forecasting_study_writes_its_tables_and_keeps_earlier_forecasts(
    tmp_path, run_main, monkeypatch
):
    import forecasting

    expanding = [setup for setup in forecasting.SETUPS if setup.windows == "expanding"]
    monkeypatch.setattr(forecasting, "SETUPS", expanding)
    arguments = ["--quick", "--data", "threshold", "--output", tmp_path, "--models"]
    printed = run_main("forecasting", *arguments, "random walk", "HAR-X")
    assert "One step ahead, 24 forecasts" in printed and "1 to 12 steps ahead" in printed
    first = pd.read_csv(tmp_path / "forecasting_threshold.csv")
    assert len(first) == 4 and first["MSE"].gt(0.0).all()
    assert (tmp_path / "forecasting.png").stat().st_size > 10_000
    run_main("forecasting", *arguments, "ridge")
    both = pd.read_csv(tmp_path / "forecasting_threshold.csv")
    assert set(both["model"]) == {"random walk", "HAR-X", "ridge"}
    kept = both[both["model"] != "ridge"].reset_index(drop=True)
    pd.testing.assert_series_equal(kept["MSE"], first["MSE"])
