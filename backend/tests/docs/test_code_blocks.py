"""The documents' Python blocks run, in order, as a reader would run them.

A block that is marked "run: as a test" is written to a test module of the page's own by a reader; its tests are called
here. One that is marked "run: by pytest" needs pytest itself; see `test_pytest_blocks.py`.
"""

import ast
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from saqueduct import Queues, get_registry
from saqueduct.testing import JobKit
from tests.docs.reading import BY_PYTEST, DOCUMENTS, REPOSITORY, name, python_blocks

AS_A_TEST = "<!-- run: as a test -->"
WITH_BLOCKS = [document for document in DOCUMENTS if python_blocks(document)]


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The application's tasks, and those that a document adds for its own time; modules that a reader would write."""
    modules = {
        module: types.ModuleType(module)
        for module in ("document", "app.greetings", "app.greetings.tasks", "app.sessions")
    }
    modules["app.sessions.tasks"] = types.ModuleType("app.sessions.tasks")
    registry = get_registry()
    before = registry.get_all_tasks()
    with registry.isolated(), pytest.MonkeyPatch.context() as patch:
        for module, content in modules.items():
            patch.setitem(sys.modules, module, content)
        for each in before:
            registry.add(each)
        yield


@pytest.mark.parametrize("document", WITH_BLOCKS, ids=name)
async def test_the_blocks_of_a_document_run(
    document: Path,
    queues: Queues,
    session: AsyncSession,
    jobs: JobKit,
) -> None:
    fixtures = {"session": session, "jobs": jobs, "queues": queues}
    # Litestar looks the module of a function up.
    namespace: dict[str, Any] = vars(sys.modules["document"])
    for number, (marker, code) in enumerate(python_blocks(document)):
        where = f"{document.relative_to(REPOSITORY)}, block {number + 1}"
        if marker == BY_PYTEST:
            continue
        if marker != AS_A_TEST:
            async with jobs.working():
                await run(code, where, namespace)
            continue
        known = set(namespace)
        await run(code, where, namespace)
        tests = [value for key, value in namespace.items() if key not in known and key.startswith("test_")]
        assert tests, f"{where} has no test"
        for test in tests:
            await test(**{each: fixtures[each] for each in inspect.signature(test).parameters})


async def run(code: str, where: str, namespace: dict[str, Any]) -> None:
    """Execute a block; it may await at top level. Its functions get the lines of the block as their place."""
    compiled = compile(code, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    forget_tasks_that_it_writes_anew(code)
    result = eval(compiled, namespace)  # noqa: S307  (the repository's own documents)
    if inspect.isawaitable(result):
        await result


def forget_tasks_that_it_writes_anew(code: str) -> None:
    """A document that changes a function writes it twice; its reader replaces it."""
    registry = get_registry()
    written = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.AsyncFunctionDef)}
    tasks = registry.get_all_tasks()
    registry.clear()
    for task in tasks:
        if task.name not in written or not task.where.startswith(("README", "docs")):
            registry.add(task)


async def test_the_calls_of_the_tutorial_answer_as_it_says(
    client: httpx.AsyncClient, engine: AsyncEngine, jobs: JobKit
) -> None:
    document = REPOSITORY / "docs/tutorial.md"
    namespace: dict[str, Any] = {"__name__": "document"}
    await run(python_blocks(document)[0][1], "docs/tutorial.md, block 1", namespace)
    accepted = await client.post("/tasks/cleanup_old_sessions", json={"days": 30})
    assert accepted.status_code == 201
    await jobs.drain()
    job = (await client.get(accepted.headers["location"])).json()
    assert (job["status"], job["result"]) == ("complete", {"deleted_count": 0})
    refused = await client.post("/tasks/cleanup_old_sessions", json={"days": 0})
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == ["days"]
