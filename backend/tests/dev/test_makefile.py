"""The Makefile: its help is complete, and what it runs exists."""

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

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
    named = [name for line in re.findall(r"^make ([\w -]+)", script.read_text(), re.MULTILINE) for name in line.split()]
    assert named
    assert set(named) <= set(TARGETS)


def test_a_folder_with_a_space_in_its_path_is_fine() -> None:
    # make cannot quote such a path: recipes use paths from the top of the repository.
    assert "CURDIR" not in MAKEFILE


@pytest.fixture
def virtual_environment(tmp_path: Path) -> str:
    """A .venv, by its path from the top of the repository, whose python prints its arguments, one a line."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:], sep='\\n')\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (tmp_path / ".installed").touch()
    return os.path.relpath(tmp_path, REPOSITORY)


@pytest.mark.parametrize("target", ["cli", "catalog", "test", "conformance", "chaos", "bench"])
def test_quotes_in_arguments_hold_words_together(virtual_environment: str, target: str) -> None:
    given = ["--error", "it broke", "--rate", "5", "--arg", "code=$5", "--why", "it's back"]
    printed = make(target, f"VENV={virtual_environment}", f"ARGS={shlex.join(given)}").splitlines()
    assert printed[-len(given) :] == given


def test_arguments_that_their_own_quotes_have_cut_run_nothing(virtual_environment: str) -> None:
    # What a shell makes of ARGS="dead replay --error "it broke" --rate 5".
    cut = ["ARGS=dead replay --error it", "broke --rate 5"]
    answer = subprocess.run(
        ["make", "cli", f"VENV={virtual_environment}", *cut],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert """make cli ARGS='dead list --error "it broke"'""" in answer.stderr
