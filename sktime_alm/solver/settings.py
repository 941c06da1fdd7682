"""Settings of the methods, one class for each, under their words; Table 2 as presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sktime_alm.solver._validation import (
    check_bound,
    check_choice,
    check_count,
    check_flag,
    check_nonnegative,
    check_number,
    check_positive,
)

INNER_STOPS = ("stationarity", "step")
NORMS = ("spectral", "diagonal")

# Rows of Table 2 and the iteration limits stated with Table 3.
_PAPER: dict[str, dict[str, Any]] = {
    "synthetic-10": {"max_iter": 50, "max_inner_iter": 10},
    "sp500": {"max_iter": 200, "max_inner_iter": 500},
    "synthetic-500": {
        "max_iter": 100,
        "max_inner_iter": 500,
        "feasibility_decrease": 0.90,
        "penalty_update_factor": 1.0 / 0.90,
        "penalty_exponent": 0.015,
        "tolerance_update_factor": 0.8,
    },
}


@dataclass(frozen=True)
class Settings:
    """What every method is told.

    Parameters
    ----------
    max_iter : int, default=300
        Outer iterations.
    max_inner_iter : int, default=20
        Sweeps, or steps of the weight block, in one outer iteration.
    tolerance : float, default=1e-5
        The fit has converged when the relative KKT residuals are at most this; with 0
        only the other limits end it.
    patience : int, optional, default=20
        So many outer iterations without an improvement by 0.1 % are enough: of the best objective
        or KKT residual for Algorithm 3.1, which ends; of the objective for the default method,
        which goes on to its finish. None is never.
    max_seconds : float, optional
        The fit ends after so many seconds, and little more, with its best network so far. By
        default there is no such limit; with one the outcome depends on the machine.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range; the message names it.
    """

    max_iter: int = 300
    max_inner_iter: int = 20
    tolerance: float = 1e-5
    patience: int | None = 20
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_count(self.max_iter, "max_iter")
        check_count(self.max_inner_iter, "max_inner_iter")
        check_nonnegative(self.tolerance, "tolerance")
        if self.patience is not None:
            check_count(self.patience, "patience")
        if self.max_seconds is not None:
            check_positive(self.max_seconds, "max_seconds")


@dataclass(frozen=True)
class SafeguardedSettings(Settings):
    """How the default method runs: every step from a feasible point, and R never rises.

    The fields of :class:`~sktime_alm.solver.Settings`, and these:

    Parameters
    ----------
    active_set : bool, default=True
        Finish by Newton steps that hold units on their kinks and W on its bound, where they can
        be had for about what the descent took.
    n_relaxations : int, default=8
        How often to leave the point where the descent came to rest by sweeps without
        multipliers, in search of a smaller objective. Each takes about as long as the descent, if
        it is worth it: most are given up early.
    max_recurrence : float, default=0.98
        A bound on the norm of W, or infinity: without one noisy data make chaotic networks of weak
        penalties. For ``train`` and the forecaster, as ``recurrence_norm``; a problem given to
        ``solve`` has its own, see :class:`~sktime_alm.solver.ElmanProblem`.
    recurrence_norm : {"spectral", "diagonal"}, default="spectral"
        The norm of W that is bounded.
    """

    active_set: bool = True
    n_relaxations: int = 8
    max_recurrence: float = 0.98
    recurrence_norm: str = "spectral"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound(self.max_recurrence, "max_recurrence")
        check_choice(self.recurrence_norm, "recurrence_norm", NORMS)
        check_flag(self.active_set, "active_set")
        check_count(self.n_relaxations, "n_relaxations", minimum=0)


@dataclass(frozen=True)
class ALMSettings(Settings):
    """How Algorithm 3.1 runs.

    The fields of :class:`~sktime_alm.solver.Settings`, of which ``max_iter`` is 100, and these:

    Parameters
    ----------
    initial_penalty : float, default=1.0
        gamma_0 > 0.
    penalty_update_factor : float, default=1.2
        1/eta_2 > 1: what the penalty grows by when feasibility lags, (3.9).
    penalty_exponent : float, default=1.01
        eta_3 > 0 of (3.9). The convergence theory needs more than 1; Table 2 has 0.01
        and 0.015. On the paper's data the terms it enters are inert.
    feasibility_decrease : float, default=0.99
        eta_1 in (0, 1): the penalty stays if the larger violation shrank by it, (3.8).
    inner_tolerance : float, default=0.1
        eps_0 > 0: stationarity asked of the first subproblem, (3.6).
    tolerance_update_factor : float, default=5/6
        eta_4 in (0, 1): what the inner tolerance shrinks by in each outer iteration.
    inner_stop : {"stationarity", "step"}, default="stationarity"
        Stop the sweeps by (3.6), evaluated directly, or by the paper's sufficient
        condition (3.17), which at usual sizes never fires.
    proximal_weight : float, default=1e-5
        mu > 0 of (3.16).
    safeguard : float, optional
        Gamma of (3.10) and (3.13): sweeps start at the initial point again when the
        augmented Lagrangian exceeds it. At least the objective at the initial point;
        by default the larger of that and 100.
    """

    # the paper's method knows no bound on W
    max_recurrence: ClassVar[float] = np.inf
    recurrence_norm: ClassVar[str] = "spectral"

    max_iter: int = 100
    initial_penalty: float = 1.0
    penalty_update_factor: float = 1.2
    penalty_exponent: float = 1.01
    feasibility_decrease: float = 0.99
    inner_tolerance: float = 0.1
    tolerance_update_factor: float = 5.0 / 6.0
    inner_stop: str = "stationarity"
    proximal_weight: float = 1e-5
    safeguard: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.inner_stop, "inner_stop", INNER_STOPS)
        for name in ("initial_penalty", "penalty_exponent", "inner_tolerance", "proximal_weight"):
            check_positive(getattr(self, name), name)
        for name in ("feasibility_decrease", "tolerance_update_factor"):
            if not 0.0 < check_number(getattr(self, name), name) < 1.0:
                raise ValueError(
                    f"{name} must be between 0 and 1, both excluded, found {getattr(self, name)!r}"
                )
        if check_number(self.penalty_update_factor, "penalty_update_factor") <= 1.0:
            raise ValueError(
                f"penalty_update_factor must be above 1, found {self.penalty_update_factor!r}"
            )
        if self.safeguard is not None:
            check_positive(self.safeguard, "safeguard")

    @classmethod
    def paper(cls, dataset: str) -> ALMSettings:
        """Table 2 for one of its data sets, with the iteration limits of Table 3.

        Parameters
        ----------
        dataset : {"synthetic-10", "sp500", "synthetic-500"}
            To be used with ``Regularization.scaled`` at alpha = 1.2, 1 and 500.
        """
        check_choice(dataset, "dataset", tuple(_PAPER))
        common: dict[str, Any] = {
            "tolerance": 0.0,
            "patience": None,
            "penalty_exponent": 0.01,
            "safeguard": 100.0,
        }
        return cls(**{**common, **_PAPER[dataset]})
