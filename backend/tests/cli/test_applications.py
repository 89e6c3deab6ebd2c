"""The command line on applications of users: within Litestar's, and alone on what `--app` names."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from saqueduct import ConfigurationError
from saqueduct.cli.loading import load
from tests.fixtures import python
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port
from tests.litestar.applications import Project
from tests.processes.stack import BACKEND, process

EXAMPLE = """
from contextlib import asynccontextmanager
from litestar import Litestar
from saqueduct import Context, Saqueduct, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin

@task
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b

@asynccontextmanager
async def lifespan(app):
    print("lifespan entered")
    yield

config = SaqueductConfig(worker_lifespans=[lifespan])
saqueduct = Saqueduct(config)
app = Litestar(plugins=[SaqueductPlugin(config)])

def create_app() -> Litestar:
    return app

def create_config() -> SaqueductConfig:
    return config

class shop:
    app = app
"""

PLAIN = """
from saqueduct import Context, SaqueductConfig, task

@task
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b

config = SaqueductConfig()
"""
"""Without a web framework."""

WRONG = """
from litestar import Litestar
from saqueduct import SaqueductConfig

config = SaqueductConfig(redis_url="redis://127.0.0.1:1")
plain = Litestar()
number = 7

async def later(): ...
def given(settings): ...
def unreadable(): open("/no/such/file")
"""

_numbers = itertools.count()


@pytest.fixture
def example(tmp_path: Path, redis_url: str, empty_redis: None) -> Project:
    """An application with a Redis and no PostgreSQL."""
    return Project(tmp_path, EXAMPLE, {"REDIS_URL": redis_url})


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be imported; its name."""
    name = f"wrong{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(WRONG)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def alone(project: Project, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `saqueduct ...` in the folder of a project, to its end."""
    command = ("-c", "from saqueduct.cli.main import run; run()", *arguments)
    return python.run(command, cwd=project.directory, env={**project.environment, **environment})


def test_the_commands_are_in_litestars_command_line(example: Project) -> None:
    enqueued = example.run("queue", "tasks", "enqueue", "add", "a=1", "b=2", "--key", "one", "--json")
    assert (enqueued.returncode, json.loads(enqueued.stdout)["key"]) == (0, "one"), enqueued.stderr
    shown = example.run("queue", "jobs", "show", "one", "--json")
    assert json.loads(shown.stdout)["redis"]["arguments"] == {"a": 1, "b": 2}
    missing = example.run("queue", "jobs", "show", "two")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("error: no job has the key 'two'")


def test_the_status_of_workers_without_redis_is_one_line(tmp_path: Path) -> None:
    project = Project(tmp_path, EXAMPLE, {"REDIS_URL": f"redis://127.0.0.1:{free_port()}"})
    answer = project.run("workers", "status")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch("error: .*cannot be reached: .*[^.]; check that Redis is running.*\n", answer.stderr)


@pytest.mark.parametrize("name", ["app", "create_app", "shop.app", "saqueduct", "config", "create_config"])
def test_alone_they_take_each_kind_of_application(example: Project, name: str) -> None:
    answer = alone(example, "--app", f"example:{name}", "queues", "stats", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    [queue] = json.loads(answer.stdout)["queues"]
    assert (queue["name"], queue["queued"], queue["dead"], queue["outbox"]) == ("default", 0, None, None)


@pytest.mark.parametrize("name", ["app", "saqueduct", "create_config"])
def test_alone_they_run_workers(example: Project, name: str) -> None:
    command = ("-m", "saqueduct.cli", "--app", f"example:{name}", "workers", "run", "--concurrency", "2")
    with process(command, example.environment, example.directory / "log", example.directory) as worker:
        worker.prints("worker started: queues default")
        enqueued = alone(example, "--app", "example:config", "tasks", "enqueue", "add", "a=1", "b=2", "--wait")
        assert (enqueued.returncode, enqueued.stdout) == (0, "3\n"), enqueued.stderr
        assert worker.stop() == 0
    assert ("lifespan entered" in worker.output) == (name == "app")


@pytest.mark.usefixtures("empty_redis")
def test_alone_they_keep_several_worker_processes_running(redis_url: str, tmp_path: Path) -> None:
    plain = Project(tmp_path, PLAIN, {"REDIS_URL": redis_url})
    command = ("-m", "saqueduct.cli", "--app", "example:config", "workers", "run", "--workers", "2")
    with process(command, plain.environment, tmp_path / "log", tmp_path) as workers:
        eventually_sync(lambda: workers.output.count("worker started") == 2)
        assert workers.stop() == 0
        assert workers.output.count("worker stopped") == 2


def test_a_worker_of_an_unknown_queue_is_refused(example: Project) -> None:
    answer = alone(example, "--app", "example:config", "workers", "run", "--queues", "default,mails")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "worker_queues: 'mails' is not one of queues" in answer.stderr


def test_an_environment_variable_names_the_application(example: Project) -> None:
    answer = alone(example, "tasks", "list", "--json", SAQUEDUCT_APP="example:config")
    assert [task["name"] for task in json.loads(answer.stdout)["tasks"]] == ["add"], answer.stderr


def test_the_module_may_be_in_another_folder(example: Project, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path / "elsewhere", "", example.environment)
    given = ("--app-dir", str(example.directory), "--app", "example:config")
    answer = alone(elsewhere, *given, "tasks", "list", "--json")
    assert [task["name"] for task in json.loads(answer.stdout)["tasks"]] == ["add"], answer.stderr


def test_without_an_application_it_says_how_to_name_one(example: Project) -> None:
    answer = alone(example, "jobs", "list")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "saqueduct --app example:app jobs list" in answer.stderr
    assert "SAQUEDUCT_APP" in answer.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("{}", "must be module:name, such as example:app"),
        ("{}:", "must be module:name"),
        ("{}.py:app", "without .py"),
        ("{}/main:app", "named with dots"),
        ("no_such_module:app", "no module 'no_such_module' in "),
        ("saqueduct.no_such:app", "no module 'saqueduct.no_such' in "),
        ("{}:app", "has no 'app'; it has config, plain"),
        ("{}:plain", "the Litestar application has no SaqueductPlugin: add it with"),
        ("{}:number", "it is of type int, but it must name a Litestar application with SaqueductPlugin"),
        ("{}:later", "it is an async function"),
        ("{}:given", "cannot be called without arguments: missing a required argument: 'settings'"),
        ("{}:unreadable", "cannot be loaded: FileNotFoundError: .*/no/such/file"),
    ],
)
def test_what_app_names_wrongly_is_said(wrong: str, path: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load(path.format(wrong))


def test_a_package_that_the_application_lacks_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacks_a_package.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load("lacks_a_package:app")


def test_without_postgresql_records_are_refused_and_redis_is_shown(example: Project) -> None:
    app = ("--app", "example:saqueduct")
    refused = alone(example, *app, "jobs", "list")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "it has no PostgreSQL: set `database_url`" in refused.stderr
    assert "jobs list --status queued" in refused.stderr
    assert alone(example, *app, "tasks", "enqueue", "add", "a=1", "b=2", "--key", "one").stdout == "enqueued one\n"
    queued = alone(example, *app, "jobs", "list", "--status", "queued", "--json")
    assert [job["key"] for job in json.loads(queued.stdout)["jobs"]] == ["one"]
    assert "in Redis" in alone(example, *app, "jobs", "show", "one").stdout
    assert alone(example, *app, "queues", "stats").stdout.count("default") == 1


def test_no_garbage_is_collected_while_the_application_is_imported(tmp_path: Path) -> None:
    source = f"import atexit, gc\nprint(gc.isenabled())\natexit.register(lambda: print(gc.isenabled())){EXAMPLE}"
    shown = alone(Project(tmp_path, source), "--app", "example:config", "tasks", "list").stdout.splitlines()
    assert (shown[0], shown[-1]) == ("False", "True")


def run_python(source: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", source], cwd=BACKEND, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_rich_it_says_what_to_install() -> None:
    answer = run_python("import sys; sys.modules['rich'] = None; from saqueduct.cli.main import run; run()")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "error: the command line needs the package rich: pip install saqueduct[cli]\n"


def test_the_package_loads_no_command() -> None:
    answer = run_python("import sys, saqueduct.cli; print(*sys.modules)")
    loaded = {name.partition(".")[0] for name in answer.stdout.split()}
    assert loaded & {"rich", "sqlalchemy", "saq", "redis", "litestar", "dishka"} == set()
    assert "click" in loaded
