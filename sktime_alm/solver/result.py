"""What a fit reports: status, one record per outer iteration, and the networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate
from sktime_alm.solver.reformulation import Point

if TYPE_CHECKING:
    import pandas as pd


# what the best value of a measure must shrink by to count as progress
IMPROVEMENT = 0.999


class Status(Enum):
    """Why a fit ended, in a sentence."""

    CONVERGED = "The relative KKT residuals are within the tolerance."
    AT_REST = (
        "No step that was tried lowers the objective any more, but the KKT residuals are above "
        "the tolerance."
    )
    MAX_ITER = "The limit on outer iterations was reached."
    TIME_IS_UP = "The limit in seconds was reached."
    NO_PROGRESS = "Neither the objective nor the KKT residuals improved for many iterations."
    CALLBACK = "The callback asked to stop."
    INTERRUPTED = "The fit was interrupted; the best network so far is returned."
    LOST = "The workers that hold the rows were lost; the best network so far is returned."
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
    kkt_residual : float
        The largest of the relative residuals there, :attr:`Certificate.residual`: what the
        tolerance is compared with.
    preactivation_violation, hidden_violation : float
        ||C1(s^k)|| and ||C2(s^k)||.
    penalty : float
        gamma_k, after the update that these violations called for; of the default method that
        of the metric.
    n_sweeps : int
        Sweeps in this iteration; of the default method steps of the weight block or
        Newton steps.
    phase : str
        "alm"; of the default method also "newton" and "relax", of blocks "sample".
    seconds : float
        Wall time since the fit began.
    """

    iteration: int
    lagrangian: float
    objective: float
    stationarity: float
    kkt_residual: float
    preactivation_violation: float
    hidden_violation: float
    penalty: float
    n_sweeps: int
    phase: str
    seconds: float


class Step(NamedTuple):
    """An outer iteration of a method, as the driver is handed it.

    Attributes
    ----------
    point : Point
    multipliers : Multipliers
    penalty : float
        gamma, after the iteration.
    lagrangian : float
        L at the point with the multipliers and the penalty before the iteration.
    n_sweeps : int
    phase : str
    objective : float, optional
        R of the network of the point, where the method knows it.
    is_settled : bool
        Whether the method would stop here if the point is KKT.
    """

    point: Point
    multipliers: Multipliers
    penalty: float
    lagrangian: float
    n_sweeps: int = 0
    phase: str = "alm"
    objective: float | None = None
    is_settled: bool = True

    def is_finite(self) -> bool:
        """Whether the iterate can be kept."""
        numbers = [self.lagrangian, self.penalty, *(array.sum() for array in self.multipliers)]
        return self.point.is_finite() and bool(np.isfinite(numbers).all())


class History(tuple[IterationRecord, ...]):
    """The records of a fit, in order."""

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """One row for each outer iteration, one column for each field of the record."""
        # on use: the solver itself needs no pandas
        import pandas as pd

        return pd.DataFrame(list(self), columns=IterationRecord._fields).set_index("iteration")


class StartOutcome(NamedTuple):
    """How one start of a fit ended.

    Attributes
    ----------
    parameters : ElmanParameters or None
        Its best network; None in a saved forecaster.
    objective : float
        R of that.
    status : Status
    scaling : float
        What its initial recurrent weights were multiplied by, lest the rollout overflow;
        1 where they did not need it.
    """

    parameters: ElmanParameters | None
    objective: float
    status: Status
    scaling: float = 1.0


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
    history : History
        One :class:`IterationRecord` for each outer iteration.
    last : ALMIterate
        The last finite iterate: of Algorithm 3.1 in general infeasible, of the default method
        the best feasible point with its multipliers.
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
    history: History
    last: ALMIterate
    certificate: Certificate
    starts: tuple[StartOutcome, ...] = ()

    def without_states(self) -> ALMResult:
        """The same without what grows with the rows and the starts, for a small file.

        The states and multipliers of ``last`` are empty, and the networks of ``starts`` None.
        """
        none = np.empty((0, self.parameters.hidden_size))
        last = ALMIterate(self.last.parameters, none, none, none, none, self.last.penalty)
        starts = tuple(start._replace(parameters=None) for start in self.starts)
        return replace(self, last=last, starts=starts)
