"""`make shell` and `make cli`: a program in this terminal, on the servers of the checkout."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from app.dev import child
from app.dev.program import Program
from saqueduct.embedded.services import Services


def migrated(name: str, module: str, *arguments: str) -> Program:
    """A program that brings the database up to date, and then runs a module of Python."""
    return Program(name, (sys.executable, "-m", "app.dev.migrated", module, *arguments))


SHELL = migrated("shell", "app.shell", "--worker")
CLI = migrated("cli", "saqueduct.cli", "--app", "app.queue.config:load_config")


def run_in_terminal(program: Program, services: Services, directory: Path) -> int:
    """Start the servers, and run a program until it ends; returns its exit status.

    Args:
        program: reads the terminal.
        services: used by this process from start to end.
        directory: where it runs.

    Raises:
        ServerError: a server does not start.
    """
    environment = {**services.start(), "DEV_DIR": str(services.directory)}
    try:
        return _wait_in_this_terminal(_start(program, environment, directory))
    finally:
        services.release()


def _wait_in_this_terminal(program: "subprocess.Popen[bytes]") -> int:
    """Wait for a process that reads the terminal. Ctrl-C is its own; `make stop` and a closed terminal end it."""
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: program.terminate())
    return program.wait()


def _start(program: Program, environment: Mapping[str, str], directory: Path) -> "subprocess.Popen[bytes]":
    """Start a process that does not outlive this one."""
    tied = (sys.executable, "-I", "-S", child.__file__, str(os.getpid()))
    return subprocess.Popen([*tied, *program.command], env={**os.environ, **environment}, cwd=directory)
