"""An application that cannot start: `litestar run` and uvicorn print one message that names the remedy."""

from pathlib import Path

import asyncpg
import pytest

from tests.fixtures import python
from tests.fixtures.ports import free_port
from tests.litestar.applications import Project

PLUGIN = """
from litestar import Litestar
from saqueduct import task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin
{before}

def create_app():
    return Litestar([], plugins=[SaqueductPlugin(SaqueductConfig({config}))])

app = create_app{call}
"""

REDIS = "redis_url='redis://127.0.0.1:6379/0'"

IMPORTS = {
    "production without credentials": (f"{REDIS}, environment='production'", "", "ADMIN_PASSWORD or ADMIN_TOKEN"),
    "production without Redis": ("environment='production'", "", "production needs redis_url"),
    "a value out of bounds": (
        f"{REDIS}, concurrency=0",
        "",
        "concurrency=0: must be a whole number, from 1 to 100,000",
    ),
    "a task that cannot be registered": (
        REDIS,
        "task(name='t')(lambda: None)",
        "the first parameter must be the job's context",
    ),
}
"""The settings, code before them, and a part of the message, by name."""

NOT_INJECTED = "class Mailer: ...\n\n@task\nasync def lonely(ctx, *, mailer: Mailer) -> None: ..."


def application(directory: Path, config: str, before: str = "", call: str = "()") -> Project:
    """A project whose `app` is made with these settings; without `call`, `app` is the function that makes it."""
    return Project(directory, PLUGIN.format(config=config, before=before, call=call))


def run_without_traceback(project: Project, *command: str) -> str:
    """What a failing command printed, in one line: Litestar's command line wraps messages."""
    done = project.run(*command)
    output = done.stdout + done.stderr
    assert done.returncode != 0, output
    assert "Traceback" not in output, output
    return " ".join(output.replace("│", " ").split())


@pytest.fixture
async def empty_database_url(database_url: str) -> str:
    """The URL of a schema without tables."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE SCHEMA IF NOT EXISTS without_tables")
    await connection.close()
    return database_url


@pytest.mark.parametrize(("config", "before", "message"), IMPORTS.values(), ids=IMPORTS.keys())
def test_an_error_at_import_is_shown_without_a_traceback(
    config: str, before: str, message: str, tmp_path: Path
) -> None:
    project = application(tmp_path, config, before)
    assert message in run_without_traceback(project, "run", "--port", str(free_port()))


def test_the_worker_command_shows_an_error_at_import_without_a_traceback(tmp_path: Path) -> None:
    project = application(tmp_path, f"{REDIS}, environment='production'")
    assert "ADMIN_PASSWORD or ADMIN_TOKEN" in run_without_traceback(project, "workers", "run")


def test_uvicorn_shows_an_error_at_import_without_a_traceback(tmp_path: Path) -> None:
    application(tmp_path, f"{REDIS}, environment='production'")
    command = ["-m", "uvicorn", "--app-dir", str(tmp_path), "example:app", "--port", str(free_port())]
    done = python.run(command, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "ADMIN_PASSWORD or ADMIN_TOKEN" in done.stderr


@pytest.mark.parametrize("call", ["()", ""], ids=["application", "factory"])
def test_missing_tables_are_shown_without_a_traceback(
    call: str, redis_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    config = f"redis_url={redis_url!r}, database_url={empty_database_url!r}, schema='without_tables'"
    project = application(tmp_path, config, call=call)
    output = run_without_traceback(project, "run", "--port", str(free_port()))
    assert "lacks Saqueduct's tables" in output
    assert "make them with `litestar --app APP queue migrate`" in output
    assert "Application startup failed" in output


@pytest.mark.parametrize("workers", ["", ", run_workers='web'"], ids=["no worker", "a worker"])
def test_a_parameter_that_nobody_provides_is_shown_without_a_traceback(
    workers: str, redis_url: str, tmp_path: Path
) -> None:
    config = f"redis_url={redis_url!r}{workers}"
    project = application(tmp_path, config, NOT_INJECTED)
    output = run_without_traceback(project, "run", "--port", str(free_port()))
    assert "example.py" in output
    assert "mailer" in output
