"""The optimiser: arrays in, arrays out.

Training an Elman network is written as a constrained problem (``reformulation``) whose
augmented Lagrangian (``lagrangian``) is minimised block by block (``bcd``) within an
outer loop (``alm``); ``optimality`` says how far the outcome is from a KKT point.
"""

from sktime_alm.solver.activations import (
    ELU,
    Activation,
    LeakyReLU,
    ReLU,
    Smooth,
    Tanh,
    scalar,
)
from sktime_alm.solver.multistart import solve, train
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate
from sktime_alm.solver.reformulation import ElmanProblem
from sktime_alm.solver.regularization import Regularization
from sktime_alm.solver.result import ALMIterate, ALMResult, IterationRecord, StartOutcome, Status
from sktime_alm.solver.settings import ALMSettings, SafeguardedSettings, Settings

__all__ = [
    "ELU",
    "ALMIterate",
    "ALMResult",
    "ALMSettings",
    "Activation",
    "Certificate",
    "ElmanParameters",
    "ElmanProblem",
    "IterationRecord",
    "LeakyReLU",
    "ReLU",
    "Regularization",
    "SafeguardedSettings",
    "Settings",
    "Smooth",
    "StartOutcome",
    "Status",
    "Tanh",
    "scalar",
    "solve",
    "train",
]
