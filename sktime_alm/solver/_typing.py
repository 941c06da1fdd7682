"""The one array type of the solver: a NumPy array of doubles."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
