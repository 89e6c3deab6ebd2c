"""The Makefile: its help is complete, and what it runs exists."""

import os
import re
import subprocess

import pytest

from app.dev.cli import main
from app.settings import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
[PHONY] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
TARGETS = PHONY.split()


def make(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    answer = subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return answer.stdout


@pytest.mark.parametrize("arguments", [("help",), ()])
def test_help_lists_every_target(arguments: tuple[str, ...]) -> None:
    assert re.findall(r"^  make (\S+)", make(*arguments), re.MULTILINE) == TARGETS


def test_every_development_command_has_a_target() -> None:
    assert set(re.findall(r"-m app\.dev (\w+)", MAKEFILE)) == set(main.commands)


def test_ci_runs_targets_that_exist() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    named = [name for line in re.findall(r"^make (.*)$", script.read_text(), re.MULTILINE) for name in line.split()]
    assert named
    assert set(named) <= set(TARGETS)


def test_a_folder_with_a_space_in_its_path_is_fine() -> None:
    # make cannot quote such a path: recipes use paths from the top of the repository.
    assert "CURDIR" not in MAKEFILE
