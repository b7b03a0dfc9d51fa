"""Classes of risk: what IPython takes for its own, with and without a sign before it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from caesarion.agent.risk import classify
from caesarion.agent.risk.table import COMMANDS

CODE = (
    ("who *\"{__import__('os').system('id')}\"", ("processes",)),
    ('whos -"{x}"', ("processes",)),
    ('pycat "{x}"', ("processes",)),
    ("config['a']", ("processes",)),
    ('\n\n  who *"x"', ("processes",)),
    ("# c\nwho *x", ("processes",)),
    ("tb", ("processes",)),
    ("xmode [1]", ("processes",)),
    ("/f x", ("processes",)),
    (",f x", ("processes",)),
    (";f x", ("processes",)),
    ("?df", ("processes",)),
    ("df?", ("processes",)),
    ("df??", ("processes",)),
    ("!!ls", ("processes",)),
    ("a = %who", ("writes names", "processes")),
    ("a = !ls", ("writes names", "processes")),
    ("%foo x", ("processes",)),
    ("x = 1\n%who", ("writes names", "processes")),
    ("%%mystery\nx", ("processes",)),
    ("%alias a ls", ("processes",)),
    ("who = 1", ("writes names",)),
    ("history.history['loss']", ("reads",)),
    ("x = 1\nwho", ("writes names",)),
)


@pytest.mark.parametrize(("code", "classes"), CODE)
def test_code_has_the_classes_of_the_commands_in_it(code: str, classes: tuple[str, ...]) -> None:
    assert classify(code) == classes


LISTING = """
from ipykernel.zmqshell import ZMQInteractiveShell
shell = ZMQInteractiveShell.instance()
print(*shell.magics_manager.lsmagic()["line"], *dict(shell.alias_manager.aliases))
"""


def test_every_line_magic_and_alias_of_ipython_is_a_command_without_a_sign(tmp_path: Path) -> None:
    # In a process of its own, as a shell puts itself into the interpreter.
    listed = subprocess.run(
        [sys.executable, "-c", LISTING],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    own = set(listed.stdout.split())
    assert {"who", "pycat", "ls", "matplotlib", "connect_info"} <= own
    assert own <= COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_without_a_sign_is_never_a_mere_look(name: str) -> None:
    assert "reads" not in classify(f'{name} *"{{x}}"')
