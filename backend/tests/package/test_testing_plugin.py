"""The pytest plugin in somebody's project, where pytest finds it by its entry point."""

from pathlib import Path

import pytest

from tests.package.installed import Installed, Project
from tests.queue.test_testing_database import TESTS as TESTS_OF_POSTGRESQL

TASKS = """
from saqueduct import Context, task

@task(retries=3)
async def multiply(ctx: Context, *, a: int, b: int) -> int:
    return a * b
"""

TESTS = """
import pytest
from saq.job import Status
from saqueduct.testing import Drained
from tasks import multiply

async def test_a_job_runs(saqueduct_jobs):
    job = await saqueduct_jobs.run(multiply, a=1, b=2)
    assert (job.status, job.result) == (Status.COMPLETE, 2)

async def test_what_is_enqueued_waits(saqueduct, saqueduct_jobs):
    await multiply.enqueue(a=1, b=2)
    saqueduct_jobs.assert_enqueued(multiply, a=1)
    assert await saqueduct_jobs.drain() == Drained(complete=1)

async def test_redis_is_empty_again(saqueduct_jobs):
    saqueduct_jobs.refute_enqueued()

@pytest.mark.saqueduct(mode="inline")
async def test_a_mode(saqueduct):
    assert await (await multiply.enqueue(a=3, b=4)).result() == 12

def test_without_an_event_loop(saqueduct_jobs):
    saqueduct_jobs.refute_enqueued(multiply)
"""

INJECTED = """
import pytest
from litestar import Litestar
from litestar.di import Provide
from saqueduct import INJECTED, Context, task

class Greeter:
    greeting = "hello"

async def provide_greeter() -> Greeter:
    return Greeter()

@task
async def greet(ctx: Context, *, name: str, greeter: Greeter = INJECTED) -> str:
    return f"{greeter.greeting} {name}"

@pytest.fixture
def saqueduct_application():
    return Litestar([], dependencies={"greeter": Provide(provide_greeter)})

@pytest.mark.asyncio
async def test_the_application_provides(saqueduct_jobs):
    assert (await saqueduct_jobs.run(greet, name="Ada")).result == "hello Ada"
"""

IDLE = """
import sys

def test_nothing_of_the_library_is_loaded():
    heavy = {"redis", "saq", "saqueduct.application", "saqueduct.testing.kit", "sqlalchemy"}
    assert heavy & set(sys.modules) == set()

def test_other_fixtures_and_marks_have_their_names(jobs, queues, worker):
    assert (jobs, queues, worker) == (1, 2, 3)
"""

OTHER_FIXTURES = """
import pytest

pytestmark = pytest.mark.long

@pytest.fixture
def jobs(): return 1

@pytest.fixture
def queues(): return 2

@pytest.fixture
def worker(): return 3
"""

LOOP_SCOPE = "asyncio_default_fixture_loop_scope=function"
OPTIONS = ("-W", "error", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:faker", "-o", LOOP_SCOPE)


@pytest.fixture
def elsewhere(full: Installed, tmp_path: Path, redis_url: str) -> Project:
    """An empty folder."""
    return Project(full, tmp_path, {"TEST_REDIS_URL": redis_url})


def passed(project: Project, *options: str, **files: str) -> str:
    """Run pytest on these files; returns its last line."""
    for name, text in files.items():
        (project.directory / f"{name}.py").write_text(text)
    return project.start("python", "-m", "pytest", *OPTIONS, *options).splitlines()[-1]


def test_a_project_without_a_conftest_runs_jobs_and_embedded_servers_where_none_is_named(
    full: Installed, tmp_path: Path
) -> None:
    files = {"tasks": TASKS, "test_tasks": TESTS, "test_database": TESTS_OF_POSTGRESQL}
    number = "".join(files.values()).count("def test_")
    assert f"{number} passed" in passed(Project(full, tmp_path), "-o", "asyncio_mode=auto", **files)


def test_the_strict_mode_of_pytest_asyncio_and_what_an_application_provides(elsewhere: Project) -> None:
    assert "1 passed" in passed(elsewhere, test_injected=INJECTED)


def test_the_plugin_does_nothing_where_nothing_asks_for_it(elsewhere: Project) -> None:
    assert "2 passed" in passed(elsewhere, test_idle=IDLE, conftest=OTHER_FIXTURES)
