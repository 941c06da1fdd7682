"""The example scripts: what they print beside every error."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sktime_alm.datasets import make_elman

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script, *arguments):
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXAMPLES.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_checks_17_the_zero_predictor_and_persistence_stand_beside_the_errors():
    printed = run(
        "reproduce_paper.py",
        "errors",
        "synthetic-10",
        "--starts",
        "1",
        "--initializations",
        "normal",
    )
    y = make_elman(standardize=True, random_state=0)[0].to_numpy()
    row = re.search(r"^normal +(\S+) +(\S+)", printed, re.MULTILINE)
    zero = re.search(r"predicting zero: (\S+) / (\S+)", printed)
    last = re.search(r"the last value: +(\S+) / (\S+)", printed)
    assert float(zero[1]) == pytest.approx(np.mean(np.sum(y[:9] ** 2, axis=1)), rel=1e-3)
    assert float(zero[2]) == pytest.approx(np.sum(y[9] ** 2), rel=1e-3)
    assert float(last[2]) == pytest.approx(np.sum((y[9] - y[8]) ** 2), rel=1e-3)
    assert float(row[1]) < float(zero[1])


def test_checks_17_the_volatility_example_compares_with_the_random_walk(tmp_path):
    picture = tmp_path / "picture.png"
    printed = run("sp500_volatility.py", "--months", "2", "--output", str(picture))
    rows = re.findall(r"^(\S.*?) +(\d\.\d{4}) (\d\.\d{4}) ", printed, re.MULTILINE)
    names = [name for name, _, _ in rows]
    assert names[0] == "random walk" and names[-1] == "Elman network (ALM)" and len(names) == 4
    assert picture.stat().st_size > 10_000 and str(picture) in printed


def test_the_benchmark_writes_its_table_and_plots_and_resumes(tmp_path):
    solvers = ("safeguarded", "L-BFGS-B", "variable projection", "Levenberg-Marquardt")
    arguments = ["--problems", "synthetic-10", "--seeds", "1", "--budget", "0.3"]
    arguments += ["--solvers", *solvers, "--output", str(tmp_path)]
    printed = run("benchmark/run.py", *arguments)
    table = pd.read_csv(tmp_path / "benchmark.csv")
    assert set(table["solver"]) == set(solvers)
    # all of them minimise the same objective from the same start
    assert (table["R at the end"] < 0.8).all() and (table["diverged"] == 0).all()
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
    assert re.search(r"synthetic-10: compiled rivals .*(pass|FAIL)", printed)
    before = (tmp_path / "runs.jsonl").read_text()
    run("benchmark/run.py", *arguments)
    assert (tmp_path / "runs.jsonl").read_text() == before


def test_the_forecasting_study_writes_its_tables_and_keeps_earlier_forecasts(tmp_path):
    arguments = ["--quick", "--data", "threshold", "--output", str(tmp_path), "--models"]
    printed = run("benchmark/forecasting.py", *arguments, "random walk", "HAR-X")
    assert "One step ahead, 24 forecasts" in printed and "1 to 12 steps ahead" in printed
    first = pd.read_csv(tmp_path / "forecasting_threshold.csv")
    assert len(first) == 8 and first["MSE"].gt(0.0).all()
    assert (tmp_path / "forecasting.png").stat().st_size > 10_000
    run("benchmark/forecasting.py", *arguments, "Elman (ALM)")
    both = pd.read_csv(tmp_path / "forecasting_threshold.csv")
    assert set(both["model"]) == {"random walk", "HAR-X", "Elman (ALM)"}
    kept = both[both["model"] != "Elman (ALM)"].reset_index(drop=True)
    pd.testing.assert_series_equal(kept["MSE"], first["MSE"])
