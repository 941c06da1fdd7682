"""The study of system identification: its records, its models and its table."""

import numpy as np
import pandas as pd
import pytest

from identification_data import SIMULATED, Record, load
from identification_models import ARX, GRU, Elman, errors


def linear_record(seed, n=300):
    """y_t = 1.5 y_{t-1} - 0.7 y_{t-2} + u_{t-1} + 2, without noise."""
    u = np.random.default_rng(seed).normal(size=n)
    y = np.full(n, 10.0)
    for t in range(2, n):
        y[t] = 1.5 * y[t - 1] - 0.7 * y[t - 2] + u[t - 1] + 2.0
    return Record(u[:, None], y)


def test_simulated_records_are_the_same_every_time_and_differ_between_parts():
    for name in SIMULATED:
        first, again = load(name, None), load(name, None)
        np.testing.assert_array_equal(first.train[0].y, again.train[0].y)
        for test in first.tests.values():
            assert not np.allclose(test[0].y[:100], first.train[0].y[:100])
        half, three_quarters = first.splits()
        T = len(first.train[0].y)
        assert len(half.train[0].y) == T // 2 and len(three_quarters.train[0].y) == 3 * T // 4
        assert len(half.tests["held out"][0].y) == 3 * T // 4


def test_of_many_training_records_whole_ones_are_held_out():
    records = tuple(linear_record(seed, 20) for seed in range(8))
    parts = load("simulated tanks", None)._replace(train=records).splits()
    held_out = [part.tests["held out"] for part in parts]
    assert [part.train for part in parts] == [records[:4], records[:6]]
    assert held_out == [records[4:6], records[6:]]


def test_the_quarter_behind_a_cut_goes_on_from_the_state_before_it():
    record = linear_record(0)
    part = load("simulated tanks", None)._replace(train=(record,)).splits()[1]
    seen: list[int] = []

    class Perfect:
        def simulate(self, tests):
            seen.extend(len(first) for _, first in tests)
            return [np.concatenate([np.zeros(len(first)), record.y[len(first) :]])
                    for _, first in tests]  # fmt: skip

    # the rows before the cut are given and not scored
    assert errors(Perfect(), part.tests, part.n_init) == {"held out": 0.0}
    assert seen == [3 * len(record.y) // 4]
    model = Elman(part.train, 0, hidden_size=2, lags=0, exog_lags=[0], alpha=np.inf)
    (run,) = model.simulate([(record.u, record.y[: seen[0]])])
    # without a gap the forecaster goes on alike
    X = pd.DataFrame(record.u[seen[0] :], np.arange(seen[0], len(record.y)))
    expected = model.forecaster.predict(fh=np.arange(1, len(X) + 1), X=X)
    np.testing.assert_allclose(run[seen[0] :], expected.to_numpy().ravel())


def test_arx_simulates_a_linear_system_exactly():
    model = ARX([linear_record(0), linear_record(1)], 0, order=2)
    found = errors(model, {"": (linear_record(2),)}, 5)
    # but for a ridge of 1e-8
    assert found[""] < 1e-4


def test_ours_is_the_forecaster_behind_a_gap():
    train, test = linear_record(0), linear_record(1)
    model = Elman([train], 0, hidden_size=2, lags=0, exog_lags=[0, 1], alpha=np.inf)
    (found,) = model.simulate([(test.u, test.y[:5])])
    assert len(found) == len(test.y) and np.array_equal(found[:5], test.y[:5])
    # the training record that was before it has left nothing behind
    other = Elman([linear_record(0)._replace(y=train.y)], 0, hidden_size=2, lags=0,
                  exog_lags=[0, 1], alpha=np.inf)  # fmt: skip
    other.simulate([(train.u, train.y[:5])])
    np.testing.assert_array_equal(other.simulate([(test.u, test.y[:5])])[0], found)


def test_errors_leave_out_the_first_rows_and_call_a_blown_up_run_infinite():
    test = linear_record(0)

    class Shifted:
        by = 0.5

        def simulate(self, tests):
            return [np.concatenate([np.full(5, np.nan), test.y[5:] + self.by]) for _ in tests]

    model = Shifted()
    assert errors(model, {"": (test,)}, 5)[""] == pytest.approx(0.5)
    model.by = 1e9
    assert errors(model, {"": (test,)}, 5)[""] == np.inf


def test_the_gru_is_seeded():
    pytest.importorskip("torch")
    train, test = linear_record(0), linear_record(1)
    runs = [GRU([train], seed, 3, epochs=3).simulate([(test.u, test.y[:5])])[0] for seed in (0, 0)]
    np.testing.assert_array_equal(*runs)


def test_records_are_read_from_files(tmp_path):
    tanks = {name: np.arange(20.0) for name in ("uEst", "yEst", "uVal", "yVal")}
    pd.DataFrame(tanks).to_csv(tmp_path / "cascaded_tanks.csv")
    found = load("cascaded tanks", tmp_path)
    assert found.n_init == 5 and found.train[0].u.shape == (20, 1)
    for part in ("train", "test1", "test2", "test3"):
        record = linear_record(0, 30)
        table = pd.DataFrame({"u": record.u[:, 0], "y": record.y})
        table.to_csv(tmp_path / f"silverbox_{part}.csv", index=False)
    found = load("Silverbox", tmp_path)
    assert list(found.tests) == ["multisine", "arrow", "arrow, no extrapolation"]
    assert (found.n_init, found.unit, found.factor) == (50, "mV", 1e3)
    assert load("F16", tmp_path) is None and load("Silverbox", None) is None


@pytest.mark.slow
def test_the_study_writes_its_table_and_resumes(tmp_path, run_main):
    arguments = ["system_identification", "--quick", "--output", tmp_path]
    printed = [run_main(*arguments) for _ in range(2)]
    assert printed[0] == printed[1]
    table = pd.read_csv(tmp_path / "identification.csv")
    assert {"simulated tanks", "Duffing oscillator"} == set(table["benchmark"])
    assert {"Elman (ALM)", "ARX"} <= set(table["model"]) and np.isfinite(table["median"]).all()
    assert (tmp_path / "identification.md").read_text() in printed[0]
