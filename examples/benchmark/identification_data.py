"""The records of the identification study: simulated, from given files, or the package's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sktime_alm.datasets import make_duffing, make_tanks


class Record(NamedTuple):
    """An experiment: inputs u of shape (T, n) and the output y of shape (T,).

    Of a test a model is given the first ``n_known`` outputs, or as many as of all tests.
    """

    u: np.ndarray
    y: np.ndarray
    n_known: int = 0

    def part(self, rows: slice) -> Record:
        return Record(self.u[rows], self.y[rows])


class Benchmark(NamedTuple):
    """Training records, named tests of one or more records, and how errors are counted."""

    train: tuple[Record, ...]
    tests: dict[str, tuple[Record, ...]]
    # the first rows of a test record, whose y a model may see and which are not scored
    n_init: int
    unit: str = "V"
    # from the unit of the data to the one published
    factor: float = 1.0

    def splits(self) -> list[Benchmark]:
        """Training records cut at a half and at three quarters, with the quarter behind as test.

        That quarter is no record of its own: it is run from the start of the experiment, with the
        outputs before the cut given. From a state not known it would tell how fast a model
        forgets, not what it has learned. One quarter alone may be unlike all others.
        """
        found = []
        for n_quarters in (2, 3):
            if len(self.train) >= 4:
                # of many, whole records
                cut, end = (len(self.train) * n // 4 for n in (n_quarters, n_quarters + 1))
                kept, held_out = self.train[:cut], self.train[cut:end]
            else:
                pairs = [_cut(record, n_quarters) for record in self.train]
                kept, held_out = zip(*pairs, strict=True)
            found.append(self._replace(train=kept, tests={"held out": held_out}))
        return found


def _cut(record: Record, n_quarters: int) -> tuple[Record, Record]:
    """The first quarters of a record, and the record up to the end of the next one."""
    cut, end = (len(record.y) * n // 4 for n in (n_quarters, n_quarters + 1))
    return record.part(slice(cut)), record.part(slice(end))._replace(n_known=cut)


def _record(made: tuple[pd.Series, pd.DataFrame]) -> Record:
    y, X = made
    return Record(X.to_numpy(), y.to_numpy())


def simulated_tanks(n_samples: int = 1024) -> Benchmark:
    """Another input, another initial level and other noise in the test."""
    train, test = (_record(make_tanks(n_samples, random_state=seed)) for seed in (1, 2))
    return Benchmark((train,), {"": (test,)}, 5)


def simulated_duffing(n_samples: int = 2048) -> Benchmark:
    """Tests with the amplitude of the training and with half as much again."""
    train = _record(make_duffing(n_samples, random_state=1))
    same = _record(make_duffing(n_samples, random_state=2))
    larger = _record(make_duffing(n_samples, amplitude=0.15, random_state=3))
    return Benchmark((train,), {"": (same,), "1.5 x amplitude": (larger,)}, 50, "1")


SIMULATED: dict[str, Callable[..., Benchmark]] = {
    "simulated tanks": simulated_tanks,
    "Duffing oscillator": simulated_duffing,
}


class Source(NamedTuple):
    """Where a public benchmark comes from: a loader of nonlinear_benchmarks, or files."""

    loader: str
    # the folder and the file in it that the loader looks for before it downloads
    cached: str
    test_names: tuple[str, ...] = ("",)
    n_init: int = 50
    unit: str = "V"
    factor: float = 1.0
    # several records that are one test
    is_joint: bool = False


SOURCES = {
    # the benchmark's description leaves out 5 rows, as published results do; version 1.0 of the
    # package says 50
    "cascaded tanks": Source("Cascaded_Tanks", "Cascaded_Tanks/CascadedTanksFiles.zip", n_init=5),
    "Silverbox": Source(
        "Silverbox",
        "Silverbox/SilverboxFiles.zip",
        ("multisine", "arrow", "arrow, no extrapolation"),
        unit="mV",
        factor=1e3,
    ),
    "Wiener-Hammerstein": Source(
        "WienerHammerBenchMark",
        "WienerHammerBenchMark/WienerHammerBenchMark.mat",
        unit="mV",
        factor=1e3,
    ),
    "EMPS": Source("EMPS", "EMPS/EMPS.zip", n_init=20, unit="mm", factor=1e3),
    "CED": Source(
        "CED", "CED/FULLTEXT01.zip", ("low amplitude", "high amplitude"), 10, unit="ticks/s"
    ),
    "parallel Wiener-Hammerstein": Source(
        "ParWH", "ParWH/ParWHFiles.zip", unit="mV", factor=1e3, is_joint=True
    ),
    "F16": Source("F16", "F16/F16GVT_Files.zip", unit="m/s2", is_joint=True),
}


def load(name: str, folder: Path | None, is_quick: bool = False) -> Benchmark | None:
    """A benchmark by its name; None if the folder does not hold it."""
    if name in SIMULATED:
        return SIMULATED[name](400) if is_quick else SIMULATED[name]()
    if folder is None:
        return None
    if name == "cascaded tanks" and (folder / "cascaded_tanks.csv").exists():
        return _tanks_of(folder / "cascaded_tanks.csv")
    stem = re.sub(r"\W+", "_", name.lower())
    if list(folder.glob(f"{stem}_train*.csv")):
        return _from_csv(folder, stem, SOURCES[name])
    if (folder / SOURCES[name].cached).exists():
        return _from_package(folder, SOURCES[name])
    return None


def _tanks_of(path: Path) -> Benchmark:
    """The benchmark's own columns: uEst, yEst to train, uVal, yVal to test."""
    table = pd.read_csv(path)
    train, test = (
        Record(table[[f"u{part}"]].to_numpy(), table[f"y{part}"].to_numpy())
        for part in ("Est", "Val")
    )
    return Benchmark((train,), {"": (test,)}, SOURCES["cascaded tanks"].n_init)


def _from_csv(folder: Path, stem: str, source: Source) -> Benchmark:
    """Files STEM_train*.csv and STEM_test*.csv, each a record with columns u..., y."""

    def records(part: str) -> tuple[Record, ...]:
        tables = [pd.read_csv(path) for path in sorted(folder.glob(f"{stem}_{part}*.csv"))]
        return tuple(
            Record(table.filter(regex="^u").to_numpy(float), table["y"].to_numpy(float))
            for table in tables
        )

    return _benchmark(source, records("train"), records("test"))


def _from_package(folder: Path, source: Source) -> Benchmark:
    """The files as nonlinear_benchmarks stores them, by its own loader and splits."""
    import nonlinear_benchmarks

    loader = getattr(nonlinear_benchmarks, source.loader)
    parts = loader(dir_placement=str(folder), atleast_2d=True)
    found = ((part,) if hasattr(part, "u") else tuple(part) for part in parts)
    train, tests = (tuple(Record(data.u, data.y[:, 0]) for data in part) for part in found)
    return _benchmark(source, train, tests)


def _benchmark(source: Source, train: tuple[Record, ...], tests: tuple[Record, ...]) -> Benchmark:
    if source.is_joint:
        named = {"": tests}
    else:
        named = {name: (test,) for name, test in zip(source.test_names, tests, strict=True)}
    return Benchmark(train, named, source.n_init, source.unit, source.factor)


# free-run errors in the unit of the benchmark, as published for its test: by Champneys, Beintema,
# Tóth, Schoukens and Rogers (2024), "Baseline results for selected nonlinear system identification
# benchmarks", and by others as listed on nonlinearbenchmark.org
PUBLISHED: dict[tuple[str, str], dict[str, str]] = {
    ("cascaded tanks", ""): {
        "linear": "0.588",
        "RNN": "0.543",
        "LSTM": "0.490",
        "pNARX": "0.413",
        "GRU": "0.396",
        "nonlinear state space": "0.343 to 0.45",
        "grey box": "0.191",
    },
    ("Silverbox", "multisine"): {"RNN": "1.64", "GRU": "1.49", "best": "0.30"},
}
