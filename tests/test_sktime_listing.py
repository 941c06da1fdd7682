"""The stub that sktime would list us with says of the forecaster what is so."""

import ast
import inspect
import re
from pathlib import Path

from sktime_alm import ALMElmanForecaster

STUB = Path(__file__).parent.parent / "docs" / "sktime_listing.py"


def stub():
    """The class as written: the decorator puts the forecaster in its place where it can."""
    tree = ast.parse(STUB.read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    found.decorator_list = []
    namespace: dict[str, type] = {}
    exec(compile(tree, str(STUB), "exec"), namespace)
    return namespace[found.name]


def documented(docstring):
    """The lines of arguments in the docstring."""
    section = inspect.cleandoc(docstring).split("Parameters\n----------\n")[1]
    section = section.split("\n\nAttributes\n")[0]
    return re.findall(r"^\S.*$", section, re.MULTILINE)


def test_the_stub_has_the_name_the_arguments_and_the_tags_of_the_forecaster():
    listed = stub()
    assert listed.__name__ == ALMElmanForecaster.__name__
    ours = inspect.signature(ALMElmanForecaster.__init__).parameters
    theirs = inspect.signature(listed.__init__).parameters
    assert [(name, one.default) for name, one in theirs.items()] == [
        (name, one.default) for name, one in ours.items()
    ]
    assert documented(listed.__doc__) == documented(ALMElmanForecaster.__doc__)
    apart = {"python_dependencies", "tests:skip_all"}
    for tag in set(ALMElmanForecaster._tags) - apart:
        assert listed._tags[tag] == ALMElmanForecaster._tags[tag]
    assert listed._tags["python_dependencies"] == "sktime-alm"


def test_the_stub_can_be_made_and_cloned():
    listed = stub()
    assert listed(hidden_size=3).clone().get_params()["hidden_size"] == 3
