"""`make shell` and `make cli`: a program in this terminal, on the servers of the checkout."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from app.dev import child
from app.dev.program import Program
from saqueduct.embedded.services import Services

SHELL = Program("shell", (sys.executable, "-m", "app.shell", "--worker"))
CLI = Program("cli", (sys.executable, "-m", "saqueduct.cli", "--app", "app.queue.config:load_config"))


def run_in_terminal(program: Program, services: Services, migrate: Program, directory: Path) -> int:
    """Start the servers, bring the database up to date, and run a program until it ends; returns its exit status.

    Args:
        program: reads the terminal.
        services: used by this process from start to end.
        migrate: upgrades the database to the newest migration; its output is shown when it fails.
        directory: where both run.

    Raises:
        ServerError: a server does not start.
    """
    environment = {**services.start(), "DEV_DIR": str(services.directory)}
    try:
        migration = _start(
            migrate, environment, directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = migration.communicate()
        if migration.returncode:
            click.echo(output.decode(errors="replace") + "the migrations failed: see above", err=True)
            return migration.returncode
        return _wait_in_this_terminal(_start(program, environment, directory))
    finally:
        services.release()


def _wait_in_this_terminal(program: "subprocess.Popen[bytes]") -> int:
    """Wait for a process that reads the terminal. Ctrl-C is its own; `make stop` and a closed terminal end it."""
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: program.terminate())
    return program.wait()


def _start(
    program: Program, environment: Mapping[str, str], directory: Path, **streams: int
) -> "subprocess.Popen[bytes]":
    """Start a process that does not outlive this one."""
    tied = (sys.executable, "-I", "-S", child.__file__, str(os.getpid()))
    return subprocess.Popen(
        [*tied, *program.command],
        env={**os.environ, **environment},
        cwd=directory,
        stdin=streams.get("stdin"),
        stdout=streams.get("stdout"),
        stderr=streams.get("stderr"),
    )
