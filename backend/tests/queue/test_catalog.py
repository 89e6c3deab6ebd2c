"""The generated catalogue: up to date, typed names, no domain at run time."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dishka import AsyncContainer

from app.dev.catalog import CATALOG, CatalogError, is_stale, render
from app.dev.cli import main
from app.queue.catalog import TaskName, TasksRegistry
from saqueduct import Context, Task, TaskController, UnknownTask, get_registry, task
from saqueduct.postgres.changes import REPLAY, TASK
from tests.fixtures import python

BACKEND = Path(__file__).resolve().parents[2]

OF_THE_APPLICATION = [each for each in get_registry().get_all_tasks() if each.function.__module__.startswith("app.")]

with get_registry().isolated():

    @task(name="catalog.example")
    async def example(ctx: Context) -> None: ...

    @get_registry().add_controller
    class Examples(TaskController):
        @task
        async def in_a_controller(self, ctx: Context) -> None: ...


def test_the_catalogue_is_not_stale() -> None:
    check = python.run(["-m", "app.dev", "catalog", "--check"], cwd=BACKEND)
    assert check.returncode == 0, "run `make catalog`"


def test_each_task_has_a_name_and_a_property() -> None:
    names = {task.name for task in OF_THE_APPLICATION}
    assert set(TaskName) == names
    assert str(TaskName.TODO_CLEANUP) == "todo.cleanup"
    properties = {name for name in vars(TasksRegistry) if not name.startswith("_")}
    assert properties == {name.replace(".", "_") for name in names}


async def test_a_property_is_the_entry_of_its_task(container: AsyncContainer) -> None:
    registry = await container.get(TasksRegistry)
    assert registry.todo_cleanup.task is get_registry().get("todo.cleanup")
    assert (registry.todo_cleanup.__doc__ or "").endswith(registry.todo_cleanup.task.doc)
    assert registry["todo.cleanup"].name == TaskName.TODO_CLEANUP
    names = {task.name for task in OF_THE_APPLICATION} | {TASK, REPLAY}
    assert set(registry) == names
    assert ("ping" in registry, "pong" in registry, len(registry)) == (True, False, len(names))
    with pytest.raises(UnknownTask, match="did you mean ping"):
        registry["pingg"]


def test_the_catalogue_imports_no_domain() -> None:
    code = "import sys, app.queue.catalog; print(*(m for m in sys.modules if m.startswith('app.')))"
    modules = python.run(["-c", code], cwd=BACKEND).stdout.split()
    assert "app.queue.catalog" in modules
    not_domains = ("app.queue", "app.db")
    assert [module for module in modules if not module.startswith(not_domains)] == []
    assert "app.queue.tasks" not in modules


def test_a_new_task_makes_it_stale(tmp_path: Path) -> None:
    path = tmp_path / "catalog.py"
    assert is_stale([example], path)
    path.write_text(render([example]))
    assert not is_stale([example], path)
    assert is_stale([example, *OF_THE_APPLICATION], path)
    assert 'CATALOG_EXAMPLE = "catalog.example"' in path.read_text()
    assert "catalog_example = entry_of(tests.queue.test_catalog.example)" in path.read_text()


def test_a_method_of_a_controller_is_named_with_its_class() -> None:
    line = "in_a_controller = entry_of(tests.queue.test_catalog.Examples.in_a_controller)"
    assert line in render([Examples.in_a_controller])


def test_the_command_checks_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.py"
    command = ["catalog", "--path", str(path)]
    monkeypatch.chdir(tmp_path)
    stale = CliRunner().invoke(main, [*command, "--check"])
    assert (stale.exit_code, stale.output) == (1, "Error: catalog.py is stale: run `make catalog`\n")
    assert CliRunner().invoke(main, command).output == "catalog.py: written\n"
    fresh = CliRunner().invoke(main, [*command, "--check"])
    assert (fresh.exit_code, fresh.output) == (0, "catalog.py: up to date\n")
    assert path.read_text() == CATALOG.read_text()


@pytest.mark.usefixtures("only_own_tasks")
@pytest.mark.parametrize("name", ["class", "2fa", "a b", "_private", "app", "mails/send"])
def test_a_name_that_makes_no_property_is_refused(name: str) -> None:
    with pytest.raises(CatalogError, match=r"test_catalog\.py:\d+: the task name .* makes no property"):
        render([named(name)])


@pytest.mark.usefixtures("only_own_tasks")
def test_names_that_make_the_same_property_are_refused() -> None:
    with pytest.raises(CatalogError, match=r"'catalog\.example' and 'Catalog-example' make the same name"):
        render([example, named("Catalog-example")])


@pytest.mark.usefixtures("only_own_tasks")
def test_a_task_that_cannot_be_imported_is_refused() -> None:
    with pytest.raises(CatalogError, match=r"<locals>\.inner is not the task 'inner': define it in its module"):
        render([named("inner")])


def named(name: str) -> Task[Any, Any]:
    @task(name=name)
    async def inner(ctx: Context) -> None: ...

    return inner
