"""R to second order in B = [W V b], at given slopes of the units.

The readout is eliminated (variable projection). With p_t = [h_{t-1}; x_t; 1], e the errors,
xi and zeta the adjoint multipliers and J_t = du_t/dB, the gradient is 2 Lambda B - sum xi_t p_t'
and the Hessian

    2/N sum (A a_t J_t)'(A a_t J_t) + 2 Lambda - (K + K') - sum (zeta_t sigma''(u_t) - 2 l2) J_t'J_t
    - sum over outputs of M'G^-1 M,     K = sum_t xi_{t+1} (x) a_t J_t  in the rows of W,

M being the mixed derivatives in the readout and the hidden layer, G those of the readout and l2
the penalty on ||u||^2. An expansion is in whitened variables: with L L' the metric of a row of B, a
row d of a step stands for d L^-1, and a row of a gradient is multiplied by L^-T.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from sktime_alm.solver import slopes as compiled
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reduced import metric
from sktime_alm.solver.reformulation import ElmanProblem, TrainingProblem, Trial

# numbers of sensitivities held at a time: 8 MB
_CHUNK = 1_000_000
# units with so much less weight in the outputs feel the penalty on u beside the loss
_LIGHT = 1e-3


class Piece(NamedTuple):
    """A smooth piece of R: the units held on their kink, and the slopes a of all units.

    Both of shape (T, r).
    """

    held: BoolArray
    slopes: Array

    @classmethod
    def at(cls, problem: ElmanProblem, u: Array) -> Piece:
        """With no unit held."""
        return cls(np.zeros(u.shape, bool), problem.sigma.derivative(u))


class States(NamedTuple):
    """The network on a piece, with the adjoint multipliers of R there; rows of time."""

    u: Array
    h: Array
    errors: Array
    zeta: Array
    xi: Array


class Expansion(NamedTuple):
    """R to second order at a trial, in whitened variables.

    ``factor`` is L and ``inverse`` L^-1. ``gradient`` has n = r q entries, ``hessian`` is
    (n, n). ``rows`` are the sensitivities du/dB, (k, n), of the units ``units`` (into u, flat)
    that are nearest to their kink. ``sensitivity`` is the largest norm of one of any unit, times
    sqrt(R): how far u moves along a step that lowers R by about itself.
    """

    trial: Trial
    piece: Piece
    factor: Array
    inverse: Array
    states: States
    gradient: Array
    hessian: Array
    units: IntArray
    rows: Array
    sensitivity: float

    def plain(self, gradient: Array) -> Array:
        """A covector of the whitened variables in B, (r, q)."""
        return gradient.reshape(self.trial.hidden_layer.shape) @ self.factor.T

    def step(self, d: Array) -> Array:
        """A step in B from one in the whitened variables."""
        return d.reshape(self.trial.hidden_layer.shape) @ self.inverse


def is_split(problem: ElmanProblem, slopes: Array) -> BoolArray:
    """Which slopes at kinks are neither of those of the two sides."""
    return (slopes > problem.sigma.kernel[1]) & (slopes < 1.0)


def states_on(problem: ElmanProblem, trial: Trial, piece: Piece) -> States:
    """Rollout and adjoint at the weights of a trial, on a piece of R."""
    hidden_layer, readout, u, h, errors = trial[:5]
    W = np.ascontiguousarray(hidden_layer[:, : len(hidden_layer)])
    # otherwise the piece is the network itself, rolled out already
    if piece.held.any():
        u, h = rollout_on(problem, hidden_layer, piece)
        errors = problem.errors(readout, h)
    xi, zeta = adjoint_at(problem, W, readout, u, piece.slopes, errors)
    return States(u, h, errors, zeta, xi)


def adjoint_at(
    problem: ElmanProblem, W: Array, readout: Array, u: Array, slopes: Array, errors: Array
) -> Multipliers:
    """The multipliers at given slopes and errors, as by :func:`adjoint_multipliers`."""
    zeta = np.dot((2.0 / problem.n_observed) * errors, readout[:, : len(W)])
    xi, l2 = np.empty_like(u), problem.regularization.l2_preactivation
    compiled.adjoint(zeta, xi, u, np.ascontiguousarray(W), slopes, problem.is_end, l2)
    return Multipliers(xi, zeta)


def rollout_on(problem: ElmanProblem, hidden_layer: Array, piece: Piece) -> tuple[Array, Array]:
    """(u, h) with h = a u at the held units: the same as the network where they are at u = 0."""
    r = len(hidden_layer)
    u = problem.inputs @ hidden_layer[:, r:].T
    h, W = np.empty_like(u), np.ascontiguousarray(hidden_layer[:, :r])
    slope = problem.sigma.kernel[1]
    compiled.rollout(u, h, W, problem.is_start, *piece, slope)
    return u, h


def regressors(problem: ElmanProblem, h: Array) -> Array:
    """The rows p_t = [h_{t-1}; x_t; 1]."""
    before = np.zeros_like(h)
    before[1:] = h[:-1]
    before[problem.is_start] = 0.0
    return np.hstack([before, problem.inputs])


def whitening(problem: ElmanProblem, trial: Trial) -> tuple[Array, Array]:
    """L and L^-1 of the metric of a row of B."""
    factor = np.asarray(np.linalg.cholesky(metric(problem, trial)))
    return factor, np.asarray(solve_triangular(factor, np.eye(len(factor)), lower=True))


def expand(
    problem: ElmanProblem, trial: Trial, piece: Piece, alive: BoolArray, n_rows: int
) -> Expansion:
    """R to second order at a trial on a piece.

    Parameters
    ----------
    alive : array of bool, shape (r,)
        The units whose kinks count.
    n_rows : int
        The number of sensitivities kept: those of the held units, and of the others with the
        smallest |u| relative to them.
    """
    states = states_on(problem, trial, piece)
    factor, inverse = whitening(problem, trial)
    of_B = 2.0 * problem.regularization.of_hidden_layer(problem.n_inputs, len(trial.hidden_layer))
    P = regressors(problem, states.h)
    gradient = (of_B * trial.hidden_layer - states.xi.T @ P) @ inverse.T
    sums = _Sums(problem, trial, piece.slopes, states, _bend(problem, trial, states))
    nearest = _Nearest(states.u, piece.held, alive, n_rows, gradient.size)
    W = trial.hidden_layer[:, : len(trial.hidden_layer)]
    for here, J in chunks(problem, W, piece.slopes, P @ inverse.T):
        nearest.add(here, J)
        sums.add(here, J)
    hessian = sums.found.hessian(problem, inverse)
    sensitivity = nearest.largest * float(np.sqrt(trial.objective))
    return Expansion(
        trial,
        piece,
        factor,
        inverse,
        states,
        gradient.ravel(),
        hessian,
        nearest.index,
        nearest.rows,
        sensitivity,
    )


def second_order(problem: ElmanProblem, trial: Trial, width: float) -> SecondOrder:
    """The sums of a Hessian in [W V b] itself, as R looks from some way off.

    Kinks are spread over ``width`` on either side, in multiples of the root mean square of
    their unit. Of many rows so many kinks lie near that R is curved by them.
    """
    piece = Piece.at(problem, trial.u)
    states, P = states_on(problem, trial, piece), regressors(problem, trial.h)
    bend = _bend(problem, trial, states)
    if problem.sigma.has_kink:
        slope = problem.sigma.kernel[1]
        # a kink that is spread over 2 reach has its jump in slope as a curvature of jump / 2 reach
        reach = np.maximum(width * np.sqrt(np.mean(trial.u**2, axis=0)), np.finfo(float).tiny)
        bend += (np.abs(trial.u) < reach) * states.zeta * (1.0 - slope) / (2.0 * reach)
    sums = _Sums(problem, trial, piece.slopes, states, bend)
    W = trial.hidden_layer[:, : len(trial.hidden_layer)]
    for here, J in chunks(problem, W, piece.slopes, P):
        sums.add(here, J)
    return sums.found


def _bend(problem: ElmanProblem, trial: Trial, states: States) -> Array:
    """What R is curved by in each u_t alone, with the sign changed, (T, r): zeta sigma'' - 2 l2."""
    l2, r = problem.regularization.l2_preactivation, len(trial.hidden_layer)
    if not problem.sigma.has_kink:
        return states.zeta * problem.sigma.curvature(states.u) - 2.0 * l2
    # of the others the penalty is next to nothing beside how their losses are curved
    A = trial.readout[:, :r]
    is_light = problem.n_observed * l2 > _LIGHT * np.einsum("ij,ij->j", A, A)
    bend = np.zeros_like(states.u)
    bend[:, is_light] = -2.0 * l2
    return bend


class SecondOrder(NamedTuple):
    """Sums over rows of time from which a Hessian is put together.

    With n = r q and k the width of the readout: ``products``, (n, n), of what needs no more than J,
    ``cross``, (r, r n), minus K, ``mixed``, (m, k, n), the derivatives M, and ``grams``, (., k, k),
    the readout's systems without penalties: one for all outputs with the squared loss.
    """

    products: Array
    cross: Array
    mixed: Array
    grams: Array

    def hessian(self, problem: TrainingProblem, inverse: Array) -> Array:
        """The sums put together, (n, n); they are in variables whitened by ``inverse``."""
        r, q, H = len(self.cross), len(inverse), self.products.copy()
        n = len(H)
        cross = np.matmul(inverse[:, :r], self.cross.reshape(r, r, n)).reshape(n, n)
        H += cross
        H += cross.T
        of_B = 2.0 * problem.regularization.of_hidden_layer(problem.n_inputs, r)
        ridge = (inverse * of_B) @ inverse.T
        for i in range(0, n, q):
            H[i : i + q, i : i + q] += ridge
        factors = self._readout_factors(problem, r)
        for factor, mixed in zip(factors, self.mixed, strict=True):
            H -= mixed.T @ cho_solve(factor, mixed)
        return 0.5 * (H + H.T)

    def _readout_factors(self, problem: TrainingProblem, r: int) -> list[tuple[Array, bool]]:
        factors = []
        for gram in self.grams:
            system = gram.copy()
            of_readout = 2.0 * problem.regularization.of_readout(r, problem.n_skip)
            system.flat[:: len(system) + 1] += of_readout
            factors.append(_factor(system))
        return factors if len(factors) == len(self.mixed) else factors * len(self.mixed)


class _Nearest:
    """The sensitivities of the units that are held or nearest to their kink."""

    def __init__(
        self, u: Array, held: BoolArray, alive: BoolArray, n_rows: int, n_weights: int
    ) -> None:
        self.u, self.held = u, held
        self.alive, self.n_rows = np.flatnonzero(alive), n_rows
        self.index, self.reach = np.zeros(0, np.intp), np.zeros(0)
        self.rows = np.zeros((0, n_weights))
        self.largest = 0.0

    def add(self, here: slice, J: Array) -> None:
        """Of a chunk, with those so far."""
        r, n = J.shape[1:]
        norms = compiled.row_norms(J.reshape(-1, n)).reshape(-1, r)
        self.largest = max(self.largest, float(norms.max()))
        if not len(self.alive):
            return
        u, held = self.u[here], self.held[here]
        reach = np.where(held, -1.0, np.abs(u) / np.maximum(norms, np.finfo(float).tiny))
        index = (np.arange(here.start, here.stop)[:, None] * r + self.alive).ravel()
        reach = reach[:, self.alive].ravel()
        nearest = _smallest(reach, self.n_rows)
        reach, index = np.append(self.reach, reach[nearest]), np.append(self.index, index[nearest])
        rows = np.vstack([self.rows, J.reshape(-1, n)[index[len(self.rows) :] - here.start * r]])
        nearest = _smallest(reach, self.n_rows)
        self.reach, self.index, self.rows = reach[nearest], index[nearest], rows[nearest]


class _Sums:
    """Takes the sums over chunks of rows: J as a whole may be large."""

    def __init__(
        self, problem: ElmanProblem, trial: Trial, slopes: Array, states: States, bend: Array
    ) -> None:
        self.problem, self.trial, self.slopes, self.states = problem, trial, slopes, states
        self.bend = bend
        r, q = trial.hidden_layer.shape
        n, m, k = r * q, problem.n_outputs, r + problem.skip.shape[1]
        self.next_xi = np.zeros_like(states.xi)
        self.next_xi[:-1] = states.xi[1:]
        self.next_xi[problem.is_end] = 0.0
        self.observed = problem.observed(np.hstack([states.h, problem.skip]))
        # second derivatives of the loss; 2/T with the squared one
        self.weights = problem.curvature(trial.readout, states.h)
        columns = self.weights.T[: 1 if problem.is_squared else m]
        grams = [self.observed.T @ (weights[:, None] * self.observed) for weights in columns]
        self.found = SecondOrder(
            np.zeros((n, n)), np.zeros((r, r * n)), np.zeros((m, k, n)), np.stack(grams)
        )

    def add(self, here: slice, J: Array) -> None:
        """Those of a chunk, which is overwritten."""
        problem, states = self.problem, self.states
        products, cross, all_mixed, _ = self.found
        T, r, n = J.shape
        self._take_bend(J.reshape(-1, n), self.bend[here].ravel())
        # the sensitivities of h from here on
        J *= self.slopes[here][:, :, None]
        weight, A = 2.0 / problem.n_observed, self.trial.readout[:, :r]
        # a product of a matrix with itself takes half of the time
        root = np.sqrt(self.weights[here])
        outputs = root[:, :, None] * np.matmul(A, J)
        flat = outputs.reshape(-1, n)
        products += flat.T @ flat
        by_row = J.reshape(T, r * n)
        cross -= self.next_xi[here].T @ by_row
        all_mixed[:, :r] -= weight * (states.errors[here].T @ by_row).reshape(-1, r, n)
        for o, mixed in enumerate(all_mixed):
            mixed += (root[:, o, None] * self.observed[here]).T @ outputs[:, o]

    def _take_bend(self, J: Array, bend: Array) -> None:
        """Take sum bend J'J off, in two products of a matrix with itself."""
        products = self.found.products
        for sign in (1.0, -1.0):
            is_so = sign * bend > 0.0
            if is_so.any():
                rows = np.sqrt(np.abs(bend[is_so]))[:, None] * J[is_so]
                products -= sign * (rows.T @ rows)


def _factor(gram: Array) -> tuple[Array, bool]:
    """The Cholesky factor of the readout's system."""
    try:
        return cho_factor(gram)
    except np.linalg.LinAlgError:
        # units that do the same, without a penalty: any of the best readouts will do
        gram.flat[:: len(gram) + 1] += 1e-12 * np.trace(gram)
        return cho_factor(gram)


def chunks(
    problem: ElmanProblem, W: Array, slopes: Array, P: Array
) -> Iterator[tuple[slice, Array]]:
    """The sensitivities du_t/dB, (., r, r q), of chunk after chunk of rows of time.

    They may be overwritten; the next chunk does so in any case.
    """
    (T, q), r = P.shape, len(W)
    length = max(1, min(T, _CHUNK // (r * r * q)))
    W, P = np.ascontiguousarray(W), np.ascontiguousarray(P)
    J, before = np.empty((length, r, r * q)), np.zeros((r, r * q))
    for first in range(0, T, length):
        here = slice(first, min(first + length, T))
        chunk = J[: here.stop - first]
        compiled.sensitivities(chunk, before, first, W, slopes, P, problem.is_start)
        before = chunk[-1].copy()
        yield here, chunk


def sensitivities_at(
    problem: ElmanProblem, W: Array, slopes: Array, P: Array, index: IntArray
) -> Array:
    """du/dB of the units ``index`` (into u, flat, increasing); shape (k, r q)."""
    rows, r = np.empty((len(index), len(W) * P.shape[1])), len(W)
    for here, J in chunks(problem, W, slopes, P):
        found = slice(*np.searchsorted(index, [here.start * r, here.stop * r]))
        rows[found] = J.reshape(-1, J.shape[2])[index[found] - here.start * r]
    return rows


def output_jacobian(problem: ElmanProblem, parameters: ElmanParameters, rows: IntArray) -> Array:
    """The outputs of some rows of time, differentiated in the hidden layer [W V b].

    Parameters
    ----------
    problem : ElmanProblem
    parameters : ElmanParameters
    rows : array of shape (k,)
        Increasing.

    Returns
    -------
    array of shape (k, m, r q)
    """
    u, h = problem.rollout(parameters)
    a, P, r = problem.sigma.derivative(u), regressors(problem, h), parameters.hidden_size
    found = np.empty((len(rows), parameters.n_outputs, r * P.shape[1]))
    for here, J in chunks(problem, parameters.W, a, P):
        k = slice(*np.searchsorted(rows, [here.start, here.stop]))
        np.matmul(parameters.A * a[rows[k], None], J[rows[k] - here.start], out=found[k])
    return found


def _smallest(values: Array, n: int) -> IntArray:
    """Where the n smallest are, in order of their place."""
    if len(values) <= n:
        return np.arange(len(values))
    return np.sort(np.argpartition(values, n)[:n])
