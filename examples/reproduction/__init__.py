"""The paper's Table 3, run again; the modules of the benchmark that it shares are found."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "benchmark"))
