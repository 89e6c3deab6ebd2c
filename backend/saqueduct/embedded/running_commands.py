"""Which processes use the embedded servers of a folder at this moment."""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO


class RunningCommands:
    """One file for each process that uses the servers, locked by it and holding its pid.

    The kernel drops the lock with the process, however that ends, so a locked file is a living process and an
    unlocked one is a leftover. Callers serialize `enter`, `leave` and `pids` across processes (see `Services`).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._held: IO[str] | None = None

    def enter(self) -> None:
        """Count this process in."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._held = tempfile.NamedTemporaryFile("w", dir=self.directory, prefix="command-", delete=False)  # noqa: SIM115
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self._held.write(str(os.getpid()))
        self._held.flush()

    def leave(self) -> None:
        """Count this process out again."""
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
