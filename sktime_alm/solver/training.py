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

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_count, check_matrix, check_nonnegative
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.alm import solve
from sktime_alm.solver.bcd import solve_readout
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.reduced import iterate_at
from sktime_alm.solver.reformulation import ElmanProblem, Regularization
from sktime_alm.solver.result import (
    ALMResult,
    Callback,
    IterationRecord,
    Loss,
    StartOutcome,
    Status,
)
from sktime_alm.solver.settings import ALMSettings

_Outcome = tuple[ALMResult, StartOutcome]
RandomState = int | np.random.Generator | np.random.RandomState | None

# turns any matrix of reasonable numbers into a contraction
_SMALLEST_SCALING = 2.0**-60
# pre-activations so many times the inputs come from an unstable recurrence
_LARGEST_STATE = 1e8


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
    method: str = "safeguarded",
    callback: Callback | None = None,
    starts: Sequence[int] = (0,),
    initial: ElmanParameters | None = None,
    linear_skip: bool = False,
    skip_alpha: float = 1.0,
    max_recurrence: float = np.inf,
    held_out_loss: Loss | None = None,
    **settings: Any,
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
    activation : {"relu", "leaky_relu", "elu"} or Activation, default="relu"
    initialization : {"he", "glorot", "lecun", "normal"} or float, default="normal"
        Distribution of the initial weights; "normal" is N(0, 0.1), a number is the
        standard deviation of another normal distribution.
    n_init : int, default=1
        Number of starts. Start i draws the same weights whatever their number.
    random_state : int, numpy Generator or RandomState, optional
    n_jobs : int, optional
        Number of starts that run at a time, in threads; -1 uses all cores. The outcome
        does not depend on it.
    method : {"safeguarded", "paper"}, default="safeguarded"
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
    max_recurrence : float, default=inf
        A bound on the spectral norm of W; see :class:`ElmanProblem`.
    held_out_loss : callable, optional
        Early stopping; see :func:`solve`. The start with the smallest loss is the best.
    **settings
        Further fields of :class:`ALMSettings`.

    Returns
    -------
    ALMResult
        Of the best start, that with the smallest objective; ``starts`` holds the outcome of
        each.
        An interrupt (Ctrl-C) ends the training with the best network so far.

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
    alm_settings = ALMSettings(method=method, **settings)
    check_count(hidden_size, "hidden_size")
    check_count(n_init, "n_init")
    X, Y = check_matrix(X, "X"), check_matrix(Y, "Y", may_miss=True)
    shape = (X.shape[1], int(hidden_size), Y.shape[1])
    penalties = Regularization.scaled(
        alpha,
        *shape,
        skip_alpha=check_nonnegative(skip_alpha, "skip_alpha") if linear_skip else None,
    )
    problem = ElmanProblem(X, Y, penalties, activation, tuple(starts), linear_skip, max_recurrence)
    if initial is not None and initial.hidden_size != hidden_size:
        raise ValueError(
            f"initial must have hidden_size = {hidden_size} units, found {initial.hidden_size}"
        )

    def run(seed: np.random.SeedSequence, callback: Callback | None) -> _Outcome:
        drawn = initialize(initialization, *shape, np.random.default_rng(seed))
        if linear_skip:
            drawn = replace(drawn, c=linear.c, D=linear.D)
        hidden_layer = problem.contracted(drawn.hidden_layer)
        drawn = ElmanParameters.from_layers(hidden_layer, drawn.readout)
        tamed, scaling = _tamed(problem, drawn)
        result = solve(problem, tamed, alm_settings, callback, held_out_loss)
        return result, result.starts[0]._replace(scaling=scaling)

    if linear_skip:
        linear = linear_model(problem, hidden_size)
    if initial is None:
        seeds = seed_sequence(random_state).spawn(n_init)
        outcomes = _run_starts(run, seeds, callback, min(n_threads(n_jobs), n_init))
    else:
        result = solve(problem, initial, alm_settings, callback, held_out_loss)
        outcomes = [(result, result.starts[0])]
    is_interrupted = any(result.status is Status.INTERRUPTED for result, _ in outcomes)
    if linear_skip:
        # a stationary point, where the safeguarded method stays
        at_rest = replace(alm_settings, method="safeguarded")
        result = solve(problem, linear, at_rest, held_out_loss=held_out_loss)
        outcomes.append((result, result.starts[0]))

    def rank(outcome: _Outcome) -> float:
        return outcome[1].objective if held_out_loss is None else outcome[1].held_out_loss

    # of equals the last: where penalties leave no use for hidden units it is the exact ridge
    best = min(reversed(outcomes), key=rank)[0]
    if is_interrupted:
        best = replace(best, status=Status.INTERRUPTED)
    return replace(best, starts=tuple(outcome for _, outcome in outcomes))


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
    run: Callable[[np.random.SeedSequence, Callback | None], _Outcome],
    seeds: list[np.random.SeedSequence],
    callback: Callback | None,
    n_threads: int,
) -> list[_Outcome]:
    """Every start, in order; after an interrupt those that had begun."""
    if n_threads == 1:
        outcomes = []
        for seed in seeds:
            outcomes.append(run(seed, callback))
            if outcomes[-1][0].status is Status.INTERRUPTED:
                break
        return outcomes

    interrupted, lock = Event(), Lock()

    def watched(record: IterationRecord) -> bool:
        if interrupted.is_set():
            raise KeyboardInterrupt
        if callback is None:
            return False
        with lock:
            return bool(callback(record))

    # the compiled loops and BLAS release the lock of the interpreter
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(run, seed, watched) for seed in seeds]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            pass
        finally:
            # nothing is left to stop unless a start failed or was interrupted
            interrupted.set()
            for future in futures:
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
            stacklevel=3,
        )
    return parameters, scaling


def _explodes(problem: ElmanProblem, parameters: ElmanParameters) -> bool:
    """Whether the rollout or its gradient overflows, or the states are beyond any use."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(problem.objective(parameters)):
            return True
        iterate = iterate_at(problem, parameters.hidden_layer)
        if iterate is None:
            return True
        largest_input = max(1.0, float(np.abs(problem.X).max()))
        return bool(np.abs(iterate.trial.u).max() > _LARGEST_STATE * largest_input)


def seed_sequence(random_state: RandomState) -> np.random.SeedSequence:
    """A seed sequence; start i depends on the random state and on i alone."""
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**31)))
    if random_state is not None:
        check_count(random_state, "random_state", minimum=0)
    return np.random.SeedSequence(random_state)
