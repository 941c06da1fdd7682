"""The optimiser: arrays in, arrays out.

Training an Elman network is written as a constrained problem (``reformulation``) whose
augmented Lagrangian (``lagrangian``) is minimised block by block (``bcd``) within an
outer loop (``alm``); ``optimality`` says how far the outcome is from a KKT point.
"""

from sktime_alm.solver.activations import ELU, Activation, LeakyReLU, ReLU
from sktime_alm.solver.alm import solve
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.optimality import Certificate
from sktime_alm.solver.reformulation import ElmanProblem, Regularization
from sktime_alm.solver.result import ALMIterate, ALMResult, IterationRecord, StartOutcome, Status
from sktime_alm.solver.settings import ALMSettings
from sktime_alm.solver.training import train

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
    "StartOutcome",
    "Status",
    "solve",
    "train",
]
