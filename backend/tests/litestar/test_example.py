"""The application of the README, by Litestar's command line: it serves, runs its jobs and stops in order."""

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import python
from tests.fixtures.poll import eventually_sync
from tests.litestar.applications import Project
from tests.processes.stack import BACKEND

EXAMPLE = (Path(__file__).parents[2] / "examples/minimal.py").read_text()

LIFESPANS = """
import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from litestar import Litestar, post
from saqueduct import Context, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin

@task
async def slow(ctx: Context) -> str:
    Path("started").touch()
    while not Path("finish").exists():
        await asyncio.sleep(0.02)
    return "done"

@post("/slow")
async def start() -> dict[str, str]:
    return {"job_id": (await slow.enqueue()).key}

def lifespan(name):
    @asynccontextmanager
    async def entered(app):
        print(f"{name} entered", flush=True)
        yield
        print(f"{name} left, job done: {Path('finish').exists()}", flush=True)
    return entered

needed = lifespan("needed")
config = SaqueductConfig(redis_url="redis://127.0.0.1:6379/0", worker_lifespans=[needed])
app = Litestar([start], plugins=[SaqueductPlugin(config)], lifespan=[needed, lifespan("web only")])
"""


def project(directory: Path, source: str, redis_url: str) -> Project:
    return Project(directory, source.replace("redis://127.0.0.1:6379/0", redis_url))


def ended(client: Any, key: str) -> dict[str, Any]:
    """The job, once it has ended, as the API shows it."""

    def look() -> Any:
        job = client.get(f"/queue/jobs/{key}").json()
        return job if job["status"] == "complete" else None

    return dict(eventually_sync(look))


@pytest.mark.usefixtures("empty_redis")
def test_the_example_serves_and_runs_its_jobs(redis_url: str, tmp_path: Path) -> None:
    example = project(tmp_path, EXAMPLE, redis_url)
    with example.web() as (client, _), example.running("workers", "run") as worker:
        worker.prints("worker started")
        key = client.post("/add", params={"a": 1, "b": 2}).json()["job_id"]
        assert ended(client, key)["result"] == 3
        assert {task["name"] for task in client.get("/queue/tasks").json()} == {"add", "ping"}
        page = client.get("/saq/")
        assert (page.status_code, "<title>SAQ</title>" in page.text) == (200, True)
        assert client.get(f"/saq/api/queues/default/jobs/{key}").json()["job"]["status"] == "complete"
        status = example.run("workers", "status")
        assert status.returncode == 0, status.stderr
        assert "default" in status.stdout
        assert "SAQ version" in status.stdout
        assert worker.stop() == 0
        assert "worker stopped" in worker.output


@pytest.mark.usefixtures("empty_redis")
def test_a_worker_lets_its_job_end_after_sigterm_and_enters_only_the_lifespans_that_tasks_need(
    redis_url: str, tmp_path: Path
) -> None:
    example = project(tmp_path, LIFESPANS, redis_url)
    with example.web() as (client, _), example.running("workers", "run", "--concurrency", "3", "-v") as worker:
        worker.prints("worker started")
        key = client.post("/slow").json()["job_id"]
        eventually_sync((tmp_path / "started").exists)
        worker.popen.terminate()
        worker.prints("jobs still running: 1")
        (tmp_path / "finish").touch()
        assert worker.popen.wait(60) == 0
        assert client.get(f"/queue/jobs/{key}").json()["result"] == "done"
    assert "needed entered" in worker.output
    assert "needed left, job done: True" in worker.output
    assert "web only" not in worker.output


@pytest.mark.usefixtures("empty_redis")
def test_several_worker_processes_are_kept_running_and_stop_together(redis_url: str, tmp_path: Path) -> None:
    example = project(tmp_path, EXAMPLE, redis_url)
    with example.running("workers", "run", "--workers", "2", "--grace-period", "5.5", "--queues", "default") as workers:
        eventually_sync(lambda: workers.output.count("worker started") == 2)
        assert workers.stop() == 0
        assert workers.output.count("worker stopped") == 2


def test_the_example_warns_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE)
    # The imports of the library warn of nothing either: the server in `tests/package` makes errors of that.
    command = ["-W", "error", "-c", "import example"]
    done = python.run(command, cwd=tmp_path, env={"PYTHONPATH": str(BACKEND)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_queue_that_does_not_exist_is_an_error_with_status_2(redis_url: str, tmp_path: Path) -> None:
    failed = project(tmp_path, EXAMPLE, redis_url).run("workers", "run", "--queues", "mails,default")
    assert failed.returncode == 2
    assert "worker_queues: 'mails' is not one of queues" in failed.stderr


def test_status_without_redis_says_that_it_is_unavailable(tmp_path: Path) -> None:
    failed = project(tmp_path, EXAMPLE, f"unix://{tmp_path}/nobody.sock").run("workers", "status")
    assert failed.returncode == 1
    assert "cannot be reached" in failed.stderr
