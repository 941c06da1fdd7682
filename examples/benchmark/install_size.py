"""Megabytes that an installation takes, and seconds of the first import, in fresh environments.

    python examples/benchmark/install_size.py

Some minutes, and as many gigabytes of temporary files as the largest installation. PyTorch is
its CPU build where the package index offers one.
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# what is installed, and what is imported from it
INSTALLATIONS = {
    "this package": ([str(ROOT)], "from sktime_alm import ALMElmanForecaster"),
    "PyTorch": (["torch==2.13.0"], "import torch"),
    "Keras with TensorFlow": (["keras", "tensorflow-cpu"], "import keras"),
    "neuralforecast": (
        ["torch==2.13.0", "neuralforecast"],
        "from neuralforecast.models import RNN",
    ),
}


def measure(packages: list[str], statement: str) -> tuple[float, float]:
    """Megabytes and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        size_before = size(folder)
        options = ["--quiet", "--no-compile", "--disable-pip-version-check"]
        subprocess.run([python, "-m", "pip", "install", *options, *packages], check=True)
        megabytes = size(folder) - size_before
        began = time.perf_counter()
        subprocess.run([python, "-c", statement], check=True, stderr=subprocess.DEVNULL)
        return megabytes, time.perf_counter() - began


def size(folder: str) -> float:
    """Megabytes of the files of a folder."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    print("| | installed, MB | first import, s |\n|---|---|---|")
    for name, (packages, statement) in INSTALLATIONS.items():
        try:
            megabytes, seconds = measure(packages, statement)
        except subprocess.CalledProcessError as error:
            print(f"{name} could not be installed or imported: {error}", file=sys.stderr)
            continue
        print(f"| {name} | {megabytes:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
