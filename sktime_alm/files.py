"""Files of forecasters: written whole or not at all, and read with a word on what is wrong."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from packaging.version import Version

from sktime_alm._version import __version__

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    KeyError,
    EOFError,
    IndexError,
    UnicodeDecodeError,
    # what it is made of is not there, or no longer
    AttributeError,
    ImportError,
)

_LONGEST_PREFIX = 50


def named(path: str | Path) -> Path:
    """The file that a name stands for: with the ending .zip, which may be left out."""
    if not isinstance(path, (str, Path)):
        raise TypeError(f"path must be a str or a Path, found {path!r}")
    path = Path(path)
    if not path.name:
        raise ValueError(f"path must name a file, found {str(path)!r}")
    return path if path.suffix == ".zip" else path.with_name(path.name + ".zip")


def write(path: Path, contents: dict[str, bytes]) -> None:
    """A zip file of these contents; one that stood there is replaced in a single step at the end.

    Parameters
    ----------
    path : Path
    contents : dict of str to bytes
        By their names within the file.
    """
    # a name may be as long as the file system takes
    prefix = f".{path.name[:_LONGEST_PREFIX]}."
    try:
        handle, beside = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with os.fdopen(handle, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
                for name, content in contents.items():
                    file.writestr(name, content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp lets nobody else read the file
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


def read(path: Path) -> Any:
    """The forecaster in a file."""
    try:
        with zipfile.ZipFile(path) as file:
            return pickle.loads(file.read("_obj"))
    except _DAMAGED as error:
        raise ValueError(
            f"{path} is damaged, of another version, or no file of a forecaster "
            f"({type(error).__name__}: {error}); save it again"
        ) from error


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an object with the version that wrote it."""
    return {**state, "__written_by": __version__}


def checked(state: dict[str, Any]) -> dict[str, Any]:
    """The state without its version; that of a newer one is refused."""
    state = dict(state)
    version = state.pop("__written_by", None)
    if version is None or Version(version) > Version(__version__):
        raise ValueError(
            f"this forecaster was saved by version {version or 'unknown'} of sktime_alm and cannot "
            f"be read by version {__version__}: update the package, or fit it again"
        )
    return state
