"""What the README shows is what happens."""

import re
from importlib import import_module
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_quick_start_is_two_commands_of_one_line():
    commands = blocks("bash")
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)


EXAMPLES = list(zip(blocks("python"), blocks("text"), strict=True))


@pytest.mark.parametrize(("code", "output"), EXAMPLES)
def test_the_python_example_prints_what_it_says(code, output, capsys):
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out == output


ROOT = README.parent
HOW = (ROOT / "docs" / "how-it-works.md").read_text()
PLACES = re.findall(r"`([\w.]+)`\s+in\s+\[([\w/.]+)\]\(\.\./(sktime_alm/[\w/]+\.py)\)", HOW)


def test_how_a_forecast_is_made_names_files_that_exist():
    links = re.findall(r"\[([\w/.]+\.py)\]\(\.\./([\w/.]+)\)", HOW)
    assert len(links) >= 15
    assert all(path == f"sktime_alm/{text}" and (ROOT / path).is_file() for text, path in links)


@pytest.mark.parametrize(("name", "text", "path"), PLACES)
def test_how_a_forecast_is_made_names_what_is_in_its_file(name, text, path):
    found = import_module(path.removesuffix(".py").replace("/", "."))
    module = found.__name__
    for part in name.split("."):
        found = getattr(found, part)
    # defined there, and not merely imported
    assert found.__module__ == module


def test_the_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 90 and len(text.split()) <= 600
