"""What the README shows is what happens."""

import re
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
