"""What this process uses: memory, and its share of the processors."""

import os
import time
from pathlib import Path
from typing import Final

STATM: Final = Path("/proc/self/statm")
"""Of Linux: sizes of the process in pages, the resident one second."""

PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessUse:
    """Measures between two calls of `cpu`."""

    def __init__(self) -> None:
        self._at, self._used = time.monotonic(), time.process_time()

    def cpu(self) -> float:
        """The share of one core since the last call; 1.0 is all of it."""
        now, used = time.monotonic(), time.process_time()
        elapsed, worked = now - self._at, used - self._used
        self._at, self._used = now, used
        return worked / elapsed if elapsed > 0 else 0.0

    @staticmethod
    def memory() -> int:
        """Bytes that are resident; 0: the system does not say."""
        try:
            return int(STATM.read_bytes().split()[1]) * PAGE_SIZE
        except OSError:
            return 0
