"""Run a command that does not outlive the process that asked for it: `python child.py PID COMMAND...`.

On Linux the kernel sends SIGTERM when the parent dies, however it dies, so that a `make dev` killed with SIGKILL leaves
no worker behind. This file runs by its path, before and without the application: the request has to be made in the
child, and running Python code between fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main() -> None:
    """Tie this process to its parent and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # otherwise it died before the request was made
        os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
