"""From data to a trained network: initial weights, several starts, the best of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event, Lock
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from sktime_alm.solver import alm, safeguarded, sampled
from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import (
    MOST,
    check_callback,
    check_count,
    check_flag,
    check_matrix,
    check_nonnegative,
)
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.datafits import Datafit, Squared
from sktime_alm.solver.driver import Steps, run
from sktime_alm.solver.execution import limited, take_interrupt
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.readout import solve_readout
from sktime_alm.solver.reduced import iterate_at
from sktime_alm.solver.reformulation import ElmanProblem, TrainingProblem
from sktime_alm.solver.regularization import Regularization
from sktime_alm.solver.result import ALMResult, Callback, IterationRecord, StartOutcome, Status
from sktime_alm.solver.settings import ALMSettings, SafeguardedSettings
from sktime_alm.solver.spread import SpreadProblem

_Outcome = tuple[ALMResult, StartOutcome]
_Start = Callable[[np.random.SeedSequence, Callback | None], _Outcome]
RandomState = int | np.random.Generator | np.random.RandomState | None

# turns any matrix of reasonable numbers into a contraction
_SMALLEST_SCALING = 2.0**-60
# pre-activations so many times the inputs come from an unstable recurrence
_LARGEST_STATE = 1e8
# how often a thread that waits for others looks for an interrupt
_POLL_SECONDS = 0.05


def solve(
    problem: ElmanProblem | SpreadProblem,
    initial: ElmanParameters,
    settings: SafeguardedSettings | ALMSettings | None = None,
    callback: Callback | None = None,
) -> ALMResult:
    """Train a network from given initial weights.

    Parameters
    ----------
    problem : ElmanProblem or SpreadProblem
        With its rows here, or in blocks elsewhere.
    initial : ElmanParameters
        The initial point is their rollout, which is feasible.
    settings : SafeguardedSettings or ALMSettings, optional
        The method, and how it runs; by default ``SafeguardedSettings()``.
    callback : callable, optional
        Called with the :class:`IterationRecord` of each outer iteration; the fit stops
        when it returns True.

    Returns
    -------
    ALMResult
        An interrupt (Ctrl-C) ends the fit with the best network so far.

    Raises
    ------
    ValueError, TypeError
        If ``initial`` does not fit the problem or overflows in the rollout, if the
        safeguard is below the objective there, or if the problem or the settings are none.
    """
    if not isinstance(problem, TrainingProblem):
        raise TypeError(f"problem must be an ElmanProblem or a SpreadProblem, found {problem!r}")
    settings = _check_settings(settings)
    if isinstance(problem, SpreadProblem) and isinstance(settings, SafeguardedSettings):
        # it tells by itself when R falls no more
        settings = replace(settings, patience=None)
    if isinstance(settings, ALMSettings) and not problem.is_squared:
        raise ValueError(
            "settings must be SafeguardedSettings with a datafit other than Squared: the blocks of "
            f"the paper's method are closed for that alone; found {problem.datafit!r}"
        )
    problem.check_parameters(initial, "initial")
    check_callback(callback)
    with np.errstate(all="ignore"), limited():
        if not np.isfinite(problem.objective(initial)):
            raise ValueError(
                "initial gives a network that overflows on X or whose W is beyond max_recurrence; "
                "use smaller weights, in W above all"
            )
        return run(problem, initial, _steps(problem, initial, settings), settings, callback)


def _steps(
    problem: ElmanProblem | SpreadProblem,
    initial: ElmanParameters,
    settings: SafeguardedSettings | ALMSettings,
) -> Steps:
    """The iterations of the method."""
    if isinstance(settings, ALMSettings):
        return alm.steps(problem, initial, settings)
    if isinstance(problem, SpreadProblem):
        return sampled.steps(problem, initial, settings)
    return safeguarded.steps(problem, initial, settings)


def _check_settings(settings: Any) -> SafeguardedSettings | ALMSettings:
    if settings is None:
        return SafeguardedSettings()
    if not isinstance(settings, (SafeguardedSettings, ALMSettings)):
        raise TypeError(f"settings must be SafeguardedSettings or ALMSettings, found {settings!r}")
    return settings


def train(
    X: Array,
    Y: Array,
    hidden_size: int,
    *,
    alpha: float = 1.0,
    activation: str | Activation = "relu",
    initialization: str | float = "normal",
    n_init: int = 1,
    random_state: RandomState = None,
    n_jobs: int | None = None,
    callback: Callback | None = None,
    starts: Sequence[int] = (0,),
    initial: ElmanParameters | None = None,
    linear_skip: bool = False,
    skip_alpha: float = 1.0,
    datafit: Datafit | None = None,
    settings: SafeguardedSettings | ALMSettings | None = None,
    **options: Any,
) -> ALMResult:
    """Train an Elman network on arrays and return the best of several starts.

    Parameters
    ----------
    X : array of shape (T, n)
        Inputs.
    Y : array of shape (T, m)
        Targets; rows with NaN have no part in the loss.
    hidden_size : int
        r, the number of hidden units.
    alpha : float, default=1.0
        Strength of the penalties, spread over the weights as in Table 2; see
        :meth:`Regularization.scaled`.
    activation : {"relu", "leaky_relu", "elu", "tanh"} or Activation, default="relu"
    initialization : {"he", "glorot", "lecun", "normal"} or float, default="normal"
        Distribution of the initial weights; "normal" is N(0, 0.1), a number is the
        standard deviation of another normal distribution.
    n_init : int, default=1
        Number of starts. Start i draws the same weights whatever their number.
    random_state : int, numpy Generator or RandomState, optional
    n_jobs : int, optional
        Number of starts that run at a time, in threads; -1 uses all cores. The outcome
        does not depend on it.
    callback : callable, optional
        Called with the record of each outer iteration; a start stops when it returns
        True.
    starts : sequence of int, default=(0,)
        First rows of the sequences that X and Y lay end to end.
    initial : ElmanParameters, optional
        Start from these weights; ``initialization``, ``n_init`` and ``random_state``
        are then not used.
    linear_skip : bool, default=False
        Add D x to the outputs. The starts then begin at the ridge regression of Y on X, which
        itself is the last of them: no network that is worse is returned.
    skip_alpha : float, default=1.0
        Strength of the penalty on D, spread over its entries.
    datafit : Datafit, optional
        The loss of a row, by default ``Squared()``, the only one of the paper's method.
    settings : SafeguardedSettings or ALMSettings, optional
        The method, and how it runs.
    **options
        In place of ``settings``: fields of :class:`SafeguardedSettings`.

    Returns
    -------
    ALMResult
        With ``starts`` holding the outcome of each start.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from sktime_alm.solver import train
    >>> X = np.sin(np.arange(60.0))[:, None]
    >>> Y = np.roll(X, 1, axis=0)
    >>> result = train(X, Y, hidden_size=3, alpha=0.1, random_state=0)
    >>> result.objective < float(np.mean(Y**2))
    True
    """
    if settings is not None and options:
        raise TypeError(f"pass settings or its fields, not both; found {sorted(options)}")
    method = SafeguardedSettings(**options) if settings is None else _check_settings(settings)
    check_count(hidden_size, "hidden_size", maximum=MOST)
    check_count(n_init, "n_init", maximum=MOST)
    check_flag(linear_skip, "linear_skip")
    X, Y = check_matrix(X, "X"), check_matrix(Y, "Y", may_miss=True)
    shape = (X.shape[1], int(hidden_size), Y.shape[1])
    penalties = Regularization.scaled(
        alpha,
        *shape,
        skip_alpha=check_nonnegative(skip_alpha, "skip_alpha") if linear_skip else None,
    )
    loss = Squared() if datafit is None else datafit
    bound = method.max_recurrence, method.recurrence_norm
    kind = starts, linear_skip, *bound, loss
    problem = ElmanProblem(X, Y, penalties, activation, *kind)
    check_callback(callback)
    if initial is not None:
        _check_initial(problem, initial, hidden_size)
    seeds = seed_sequence(random_state).spawn(n_init)
    with limited(method.max_seconds):
        outcomes = _outcomes(
            problem, method, initialization, initial, seeds, n_jobs, callback, int(hidden_size)
        )
        is_interrupted = take_interrupt()
    # of equals the last: where penalties leave no use for hidden units it is the exact ridge
    best = min(reversed(outcomes), key=lambda outcome: outcome[1].objective)[0]
    if is_interrupted or any(result.status is Status.INTERRUPTED for result, _ in outcomes):
        best = replace(best, status=Status.INTERRUPTED)
    return replace(best, starts=tuple(outcome for _, outcome in outcomes))


def _check_initial(problem: ElmanProblem, initial: ElmanParameters, hidden_size: int) -> None:
    problem.check_parameters(initial, "initial")
    if initial.hidden_size != hidden_size:
        raise ValueError(
            f"initial must have hidden_size = {hidden_size} units, found {initial.hidden_size}"
        )


def _outcomes(
    problem: ElmanProblem,
    settings: SafeguardedSettings | ALMSettings,
    initialization: str | float,
    initial: ElmanParameters | None,
    seeds: list[np.random.SeedSequence],
    n_jobs: int | None,
    callback: Callback | None,
    hidden_size: int,
) -> list[_Outcome]:
    """Every start; of a problem with a linear skip the ridge regression is the last one."""
    shape = problem.n_inputs, hidden_size, problem.n_outputs
    linear = linear_model(problem, hidden_size) if problem.linear_skip else None

    def start(seed: np.random.SeedSequence, callback: Callback | None) -> _Outcome:
        drawn = initialize(initialization, *shape, np.random.default_rng(seed))
        # the linear part need not be learned: only what the hidden units add to it
        if linear is not None:
            drawn = replace(drawn, c=linear.c, D=linear.D)
        hidden_layer = problem.contraction.nearest(drawn.hidden_layer)
        tamed, scaling = _tamed(problem, ElmanParameters.from_layers(hidden_layer, drawn.readout))
        result = solve(problem, tamed, settings, callback)
        return result, result.starts[0]._replace(scaling=scaling)

    if initial is None:
        outcomes = _run_starts(start, seeds, callback, min(n_threads(n_jobs), len(seeds)))
    else:
        result = solve(problem, initial, settings, callback)
        outcomes = [(result, result.starts[0])]
    if linear is not None:
        # a stationary point, from which nothing is looked for
        at_rest = SafeguardedSettings(
            active_set=False, n_relaxations=0, tolerance=settings.tolerance
        )
        result = solve(problem, linear, at_rest)
        outcomes.append((result, result.starts[0]))
    return outcomes


def linear_model(problem: ElmanProblem, hidden_size: int) -> ElmanParameters:
    """The ridge regression of Y on X as a network with a linear skip whose other weights are 0."""
    states = np.zeros((problem.n_samples, hidden_size))
    hidden_layer = np.zeros((hidden_size, hidden_size + problem.n_inputs + 1))
    return ElmanParameters.from_layers(hidden_layer, solve_readout(problem, states))


def n_threads(n_jobs: int | None) -> int:
    """How many starts run at a time: None is one, -1 all cores."""
    if n_jobs is None:
        return 1
    if isinstance(n_jobs, (bool, np.bool_)) or not isinstance(n_jobs, (int, np.integer)):
        raise TypeError(f"n_jobs must be an integer or None, found {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0; it is a number of threads, or -1 for all cores")
    return int(effective_n_jobs(int(n_jobs)))


def _run_starts(
    start: _Start,
    seeds: list[np.random.SeedSequence],
    callback: Callback | None,
    n_threads: int,
) -> list[_Outcome]:
    """Every start, in order; after an interrupt those that had begun."""
    if n_threads == 1:
        outcomes = []
        for seed in seeds:
            outcomes.append(start(seed, callback))
            if outcomes[-1][0].status is Status.INTERRUPTED:
                break
        return outcomes

    # callbacks need not be safe in threads: they are called one at a time
    ended, lock = Event(), Lock()

    def watched(record: IterationRecord) -> bool:
        if ended.is_set():
            raise KeyboardInterrupt
        if callback is None:
            return False
        with lock:
            return bool(callback(record))

    # the compiled loops and BLAS release the lock of the interpreter
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(start, seed, watched) for seed in seeds]
        left = set(futures)
        # with a timeout, since an interrupt reaches the main thread between two waits
        while left and not ended.is_set():
            done, left = wait(left, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            results = [future for future in done if not future.exception()]
            is_over = len(results) < len(done) or any(
                future.result()[0].status is Status.INTERRUPTED for future in results
            )
            if is_over or take_interrupt():
                ended.set()
        # those that run see that it has ended at their next record
        for future in left:
            future.cancel()
        return [future.result() for future in futures if not future.cancelled()]


def _tamed(problem: ElmanProblem, parameters: ElmanParameters) -> tuple[ElmanParameters, float]:
    """The weights, the recurrent ones halved until nothing explodes; their factor."""
    scaling = 1.0
    while _explodes(problem, parameters) and scaling > _SMALLEST_SCALING:
        scaling *= 0.5
        parameters = replace(parameters, W=0.5 * parameters.W)
    if not np.isfinite(problem.objective(parameters)):
        raise ValueError("X or Y is too large for a network in double precision; scale them down")
    if scaling < 1.0:
        warnings.warn(
            f"An initial network exploded on X; its recurrent weights were multiplied by "
            f"{scaling:g}. A smaller initialization avoids this.",
            stacklevel=5,
        )
    return parameters, scaling


def _explodes(problem: ElmanProblem, parameters: ElmanParameters) -> bool:
    """Whether the rollout or its gradient overflows, or the states are beyond any use."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(problem.objective(parameters)):
            return True
        # a gradient may overflow where R does not
        iterate = iterate_at(problem, parameters.hidden_layer)
        if iterate is None:
            return True
        largest_input = max(1.0, float(np.abs(problem.X).max()))
        return bool(np.abs(iterate.trial.u).max() > _LARGEST_STATE * largest_input)


def seed_sequence(random_state: RandomState) -> np.random.SeedSequence:
    """A seed sequence; start i depends on the random state and on i alone."""
    # drawing from what was passed, so that a second fit with it has other starts
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**31)))
    if random_state is not None:
        check_count(random_state, "random_state", minimum=0, maximum=None)
    return np.random.SeedSequence(random_state)
