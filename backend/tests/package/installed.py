"""An environment in which the wheel is installed, and the processes that run in it."""

import dataclasses
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Installed:
    """A virtual environment.

    Attributes:
        directory: of the environment.
    """

    directory: Path

    def program(self, name: str) -> str:
        """Path of a program in it."""
        return str(self.directory / "bin" / name)

    def variables(self, given: Mapping[str, str] = {}) -> dict[str, str]:
        """The environment variables of its processes: nothing from this checkout, and warnings are errors."""
        path = f"{self.directory / 'bin'}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "PYTHONUNBUFFERED": "1", **given}

    def run(self, *command: str, cwd: Path, variables: Mapping[str, str] = {}) -> str:
        """Run a program of it to its end; returns what it printed.

        Raises:
            AssertionError: it failed; shows what it printed.
        """
        program, *arguments = command
        done = subprocess.run(
            [self.program(program), *arguments],
            cwd=cwd,
            env=self.variables(variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout
