"""Which processes currently use the embedded servers of a folder."""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO


class RunningCommands:
    """One file for each process that uses the servers, locked by it and holding its pid.

    The kernel releases the lock when the process ends, in any way, so a locked file means a live process and an
    unlocked one is a leftover. Callers serialize `enter`, `leave` and `pids` across processes (see `Services`).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._held: IO[str] | None = None

    def enter(self) -> None:
        """Register this process."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._held = tempfile.NamedTemporaryFile("w", dir=self.directory, prefix="command-", delete=False)  # noqa: SIM115
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self._held.write(str(os.getpid()))
        self._held.flush()

    def leave(self) -> None:
        """Unregister this process."""
        if self._held is not None:
            Path(self._held.name).unlink(missing_ok=True)
            self._held.close()
            self._held = None

    def pids(self) -> list[int]:
        """Pids of the processes that use the servers; leftovers of killed ones are removed."""
        living = []
        for path in self.directory.glob("command-*"):
            with suppress(FileNotFoundError), path.open() as file:
                if _locked(file):
                    living.append(int(file.read()))
                else:
                    path.unlink()
        return living


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
