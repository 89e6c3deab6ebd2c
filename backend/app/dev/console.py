"""What the terminal shows: the programs' lines, each behind the program's name, and the runner's own."""

import os
import sys
from contextlib import suppress
from typing import TextIO

COLOURS = ("36", "35", "32", "33", "34")
"""ANSI foreground colours, given to the programs in turn."""


class Console:
    """Writes lines such as `worker | ready`; coloured on a terminal unless NO_COLOR is set."""

    def __init__(self, names: list[str], stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.width = max(map(len, names), default=0)
        self.colours = dict(zip(names, COLOURS, strict=False))
        self.coloured = self.stream.isatty() and not os.environ.get("NO_COLOR")

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a program whose output is a pipe shows colours as this console does."""
        return {"FORCE_COLOR": "1"} if self.coloured else {"NO_COLOR": "1"}

    def line(self, name: str, text: str) -> None:
        """A line that a program has written."""
        self._write(self._paint(f"{name:<{self.width}} |", self.colours.get(name)) + f" {text}")

    def say(self, text: str) -> None:
        """A message of the runner."""
        self._write(self._paint(text, "1"))

    def _paint(self, text: str, code: str | None) -> str:
        return f"\033[{code}m{text}\033[0m" if self.coloured and code else text

    def _write(self, text: str) -> None:
        # The terminal may be gone (SIGHUP) while the programs still report their end.
        with suppress(OSError):
            self.stream.write(text + "\n")
            self.stream.flush()
