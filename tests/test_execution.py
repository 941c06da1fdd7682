"""How a fit runs in its process: interrupts, the limit in seconds, one BLAS thread.

What concerns a whole process (its signals, its BLAS threads) is tried in one of its own.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from sktime_alm.solver import ALMSettings, SafeguardedSettings, Status, train
from sktime_alm.solver.execution import limited, time_is_up

N_FITS = 60
# what a fit may take beyond its limit, on a busy machine: a step, the start and the end
SLACK = 3.0


def run_python(script):
    """The standard output of a script in a process whose BLAS has all its threads."""
    unset = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


INTERRUPTS = """
import collections, os, signal, threading, time
import numpy as np
from sktime_alm.solver import Status, train

rng = np.random.default_rng(0)
X = rng.normal(size=(2_000, 3))
Y = np.convolve(np.tanh(X[:, 0] * X[:, 1]), np.ones(5), "same")[:, None]
Y = Y + 0.1 * rng.normal(size=Y.shape)
kinds = ({}, {"activation": "elu", "max_recurrence": 0.9}, {"n_init": 2, "n_jobs": 2})

def fit(kind):
    return train(X, Y, 4, alpha=1e-2, max_iter=12, random_state=0, n_relaxations=1, **kinds[kind])

def seconds_of(kind):
    began = time.perf_counter()
    assert fit(kind).status is not Status.INTERRUPTED
    return time.perf_counter() - began

def interrupt(delay):
    # a signal before the fit has begun is none of its business
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(1e-4)
    time.sleep(delay)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        os.kill(os.getpid(), signal.SIGINT)

for kind in range(3):
    fit(kind)
lasts = [min(seconds_of(kind) for _ in range(2)) for kind in range(3)]
print(lasts)
counts = collections.Counter()
for i in range(N_FITS):
    kind = i % 3
    # early enough to come within the fit, on a machine of about the same speed; a fit is long,
    # beside what a thread may have to wait
    thread = threading.Thread(target=interrupt, args=(0.5 * lasts[kind] * rng.random(),))
    thread.start()
    result = fit(kind)
    thread.join()
    counts[result.status.name] += 1
    assert result.parameters.is_finite() and np.isfinite(result.objective)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(dict(counts))
"""


def test_real_interrupts_at_any_moment_end_the_fit_with_a_network():
    *_, counts = run_python(INTERRUPTS.replace("N_FITS", str(N_FITS))).splitlines()
    assert counts == str({"INTERRUPTED": N_FITS})


SECOND_INTERRUPT = """
import os, signal, time
import numpy as np
from sktime_alm.solver import train

passed = []

def callback(record):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
    passed.append("first")
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10.0)
    passed.append("second")

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))
result = train(X, Y, 3, random_state=0, callback=callback)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(result.status.name, *passed)
"""


def test_a_second_interrupt_is_raised_at_once():
    assert run_python(SECOND_INTERRUPT) == "INTERRUPTED first\n"


OWN_HANDLER = """
import os, signal
import numpy as np
from sktime_alm.solver import train

seen = []

def own(number, frame):
    seen.append(number)

signal.signal(signal.SIGINT, own)
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))

def kill(record):
    os.kill(os.getpid(), signal.SIGINT)
    return record.iteration == 2

result = train(X, Y, 3, random_state=0, alpha=1e-3, tolerance=0.0, callback=kill)
assert signal.getsignal(signal.SIGINT) is own
print(result.status.name, len(seen))
"""


def test_a_handler_of_the_users_stays_in_place():
    assert run_python(OWN_HANDLER) == "CALLBACK 2\n"


JOBS = """
import hashlib
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from threadpoolctl import threadpool_info
from sktime_alm.solver import train

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(500, 6)), rng.normal(size=(500, 2))

def fit(n_jobs):
    options = {"max_iter": 4, "linear_skip": True, "max_recurrence": 0.98}
    result = train(X, Y, 20, alpha=0.01, n_init=3, n_jobs=n_jobs, random_state=0, **options)
    digest = hashlib.sha256()
    for start in result.starts:
        for array in start.parameters.arrays():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

n_threads = [library["num_threads"] for library in threadpool_info()]
digests = [fit(n_jobs) for n_jobs in (1, 2, 3)]
with ThreadPoolExecutor(2) as pool:
    digests += pool.map(fit, (1, 2))
assert [library["num_threads"] for library in threadpool_info()] == n_threads
print(max(n_threads), len(set(digests)))
"""


def test_the_number_of_jobs_changes_no_bit_where_blas_may_have_threads():
    assert run_python(JOBS).split()[1] == "1"


OVERLAP = """
from concurrent.futures import ThreadPoolExecutor
from threading import Event
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from sktime_alm.solver import train

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))

def blas():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

def held(began, may_end):
    def callback(record):
        seen.append(blas())
        began.set()
        may_end.wait(60)
    return callback

def overlap(order):
    events = [(Event(), Event()) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        fits = []
        for began, may_end in events:
            fits.append(pool.submit(train, X, Y, 3, max_iter=1, callback=held(began, may_end)))
            began.wait(60)
        for i in order:
            events[i][1].set()
            fits[i].result()

seen, before = [], blas()
train(X, Y, 3, max_iter=1)
overlap((0, 1))
overlap((1, 0))
with threadpool_limits(before[0], user_api="blas"):  # the user's own limit, of this thread
    overlap((0, 1))
assert blas() == before
print({tuple(numbers) for numbers in seen} == {tuple(1 for _ in before)})
"""


def test_fits_that_overlap_in_threads_have_one_blas_thread_and_leave_blas_as_it_was():
    assert run_python(OVERLAP) == "True\n"


LONG = {"max_iter": 10**6, "tolerance": 0.0, "patience": None}


@pytest.mark.parametrize(
    "settings",
    [
        SafeguardedSettings(max_seconds=0.3, n_relaxations=10**6, **LONG),
        ALMSettings(max_seconds=0.3, max_inner_iter=10**6, inner_tolerance=1e-300, **LONG),
    ],
    ids=["safeguarded", "paper"],
)
def test_a_limit_in_seconds_ends_the_fit(settings):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2_000, 4)), rng.normal(size=(2_000, 1))
    train(X[:50], Y[:50], 10, random_state=0, max_iter=1)  # compiled
    began = time.perf_counter()
    result = train(X, Y, 10, alpha=1e-3, random_state=0, settings=settings)
    assert 0.3 <= time.perf_counter() - began <= 0.3 + SLACK
    assert result.status is Status.TIME_IS_UP and result.parameters.is_finite()
    assert result.objective <= np.mean(Y**2)


def test_limits_within_one_another_end_at_the_earlier():
    with limited(3600.0):
        assert not time_is_up()
        with limited(1e-9):
            assert time_is_up()
            with limited(3600.0):
                assert time_is_up()
        assert not time_is_up()
    assert not time_is_up()


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, "a", True])
def test_a_limit_of_the_wrong_kind_is_refused_by_name(value):
    for kind in (SafeguardedSettings, ALMSettings):
        with pytest.raises((TypeError, ValueError), match="max_seconds must be"):
            kind(max_seconds=value)
