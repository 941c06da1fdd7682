"""What a fit reports: status, one record per outer iteration, and the networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from sktime_alm.solver._typing import Array
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.optimality import Certificate


class Status(Enum):
    """Why a fit ended, in a sentence."""

    CONVERGED = "The relative KKT residuals are within the tolerance."
    MAX_ITER = "The limit on outer iterations was reached."
    CALLBACK = "The callback asked to stop."
    NON_FINITE = "An iterate overflowed; the best network before it is returned."

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"


class IterationRecord(NamedTuple):
    """One outer iteration k.

    Attributes
    ----------
    iteration : int
        k, from 1.
    lagrangian : float
        L(s^k, xi^{k-1}, zeta^{k-1}, gamma_{k-1}): what the sweeps reached.
    objective : float
        R of the rolled-out network of s^k; infinity if it overflows.
    stationarity : float
        KKT stationarity at (s^k, xi^k, zeta^k); see :class:`Certificate`.
    preactivation_violation, hidden_violation : float
        ||C1(s^k)|| and ||C2(s^k)||.
    penalty : float
        gamma_k, after the update that these violations called for.
    n_sweeps : int
        Sweeps in this iteration.
    seconds : float
        Wall time since the fit began.
    """

    iteration: int
    lagrangian: float
    objective: float
    stationarity: float
    preactivation_violation: float
    hidden_violation: float
    penalty: float
    n_sweeps: int
    seconds: float


class StartOutcome(NamedTuple):
    """How one start of a fit ended."""

    objective: float
    status: Status


Callback = Callable[[IterationRecord], bool | None]


@dataclass(frozen=True, eq=False)
class ALMIterate:
    """The state of the method after an outer iteration: s^k, xi^k, zeta^k and gamma_k.

    Attributes
    ----------
    parameters : ElmanParameters
    h, u, xi, zeta : arrays of shape (T, r)
    penalty : float
    """

    parameters: ElmanParameters
    h: Array
    u: Array
    xi: Array
    zeta: Array
    penalty: float


@dataclass(frozen=True, eq=False)
class ALMResult:
    """Outcome of a fit.

    Attributes
    ----------
    parameters : ElmanParameters
        The network of the smallest rolled-out objective seen, the start included.
    objective : float
        Its R, (2.6).
    status : Status
    n_iter : int
        Outer iterations.
    n_sweeps : int
        Sweeps over all outer iterations.
    history : tuple of IterationRecord
    last : ALMIterate
        The last finite iterate; in general infeasible.
    certificate : Certificate
        KKT residuals at ``last``.
    starts : tuple of StartOutcome
        One for each start that this result is the best of.
    """

    parameters: ElmanParameters
    objective: float
    status: Status
    n_iter: int
    n_sweeps: int
    history: tuple[IterationRecord, ...]
    last: ALMIterate
    certificate: Certificate
    starts: tuple[StartOutcome, ...] = ()
