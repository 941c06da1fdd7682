"""The finished runs of a study, a line of JSON each: an interrupted one goes on from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

_Task = TypeVar("_Task", bound=NamedTuple)


def read_runs(path: Path) -> Iterator[dict]:
    """The runs of a file, but for a last line that an interrupt cut off."""
    if path.exists():
        for line in path.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def append_run(run: dict, path: Path) -> None:
    """Add a run to a file."""
    with path.open("a") as file:
        file.write(json.dumps(run) + "\n")


def task_of(run: dict, kind: type[_Task]) -> _Task:
    """The task, a tuple of that kind, whose outcome the run is."""
    return kind(*(run[name] for name in kind._fields))
