"""One task name, one function: what is the same function once more, and what is another one."""

import functools
import importlib
import importlib.util
import sys
from code import InteractiveInterpreter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from saqueduct import Context, DuplicateTask, RegistrationError, TaskRegistry, get_registry, scheduled_task, task


@pytest.fixture(autouse=True)
def registry() -> Iterator[TaskRegistry]:
    with get_registry().isolated() as registry:
        yield registry


def logged(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(ctx: Context, **arguments: Any) -> Any:
        return await function(ctx, **arguments)

    return wrapper


def make_cleanup(table: Any) -> Any:
    async def cleanup(ctx: Context) -> Any:
        return table

    return cleanup


class Sender:
    async def send(self, ctx: Context) -> None: ...


def first_line(function: Any) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno}"


def _wrapped() -> tuple[Any, Any]:
    async def first(ctx: Context) -> str:
        return "first"

    async def second(ctx: Context) -> str:
        return "second"

    second.__name__, second.__qualname__ = first.__name__, first.__qualname__
    return first, second


def _twice_wrapped(function: Any) -> Any:
    return logged(logged(function))


def _over_a_partial(function: Any) -> Any:
    partial = functools.partial(function)
    functools.update_wrapper(partial, function)
    return logged(partial)


@pytest.mark.parametrize("decorator", [logged, _twice_wrapped, _over_a_partial])
def test_two_functions_below_one_decorator_cannot_share_a_name(
    registry: TaskRegistry, decorator: Callable[[Any], Any]
) -> None:
    first, second = _wrapped()
    one = task(decorator(first))
    with pytest.raises(DuplicateTask) as caught:
        task(decorator(second))
    assert caught.value.where == first_line(second)
    assert first_line(second) in str(caught.value)
    assert first_line(first) in str(caught.value)
    assert registry.get("first") is one


def test_a_function_and_the_same_one_decorated_are_two(registry: TaskRegistry) -> None:
    first, _ = _wrapped()
    task(first)
    with pytest.raises(DuplicateTask, match="more than one function"):
        task(logged(first))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_cleanup("users"), make_cleanup("todos")),
        (logged(make_cleanup("users")), logged(make_cleanup("todos"))),
        (make_cleanup(["users"]), make_cleanup(["users"])),
        (make_cleanup(1), make_cleanup(True)),
        (make_cleanup(make_cleanup("users")), make_cleanup(make_cleanup("todos"))),
        (make_cleanup(functools.partial(print, 1)), make_cleanup(functools.partial(print, 2))),
        (make_cleanup(Sender().send), make_cleanup(Sender().send)),
    ],
)
def test_two_products_of_one_factory_cannot_share_a_name(registry: TaskRegistry, one: Any, other: Any) -> None:
    first = task(one)
    with pytest.raises(DuplicateTask, match="more than one function") as caught:
        task(other)
    assert str(caught.value).count(first.where) == 2
    assert registry.get("cleanup") is first


def test_products_of_one_factory_with_names_of_their_own_are_tasks(registry: TaskRegistry) -> None:
    for table in ("users", "todos"):
        task(name=f"cleanup.{table}")(make_cleanup(table))
    assert len(registry) == 2


def test_a_factory_that_makes_the_same_function_again_may(registry: TaskRegistry) -> None:
    task(make_cleanup("users"))
    again = task(make_cleanup("users"))
    assert registry.get("cleanup") is again


def test_functions_that_differ_only_in_a_default_are_two(registry: TaskRegistry) -> None:
    def make(days: int) -> Any:
        async def cleanup(ctx: Context, *, kept: int = days) -> int:
            return kept

        return cleanup

    task(make(1))
    with pytest.raises(DuplicateTask):
        task(make(2))


def test_a_function_that_names_itself_is_the_same_again(registry: TaskRegistry) -> None:
    def make() -> Any:
        @task
        async def again(ctx: Context) -> None:
            await again.enqueue()

        return again

    make()
    second = make()
    assert registry.get("again") is second


def test_two_lambdas_of_one_line_are_two(registry: TaskRegistry) -> None:
    one, other = (lambda ctx: 1), (lambda ctx: 2)
    task(name="same")(one)
    with pytest.raises(DuplicateTask):
        task(name="same")(other)


def test_two_pieces_of_code_without_a_file_are_two(capsys: pytest.CaptureFixture[str]) -> None:
    source = "@task\nasync def job(ctx):\n    return {}\n"
    interpreter = InteractiveInterpreter({"task": task})
    for answer in (1, 2, 1):
        interpreter.runcode(compile(source.format(answer), "<input>", "exec"))
    assert capsys.readouterr().err.count("is taken by <input>:1") == 1


def test_one_function_with_other_options_needs_another_name(registry: TaskRegistry) -> None:
    first, _ = _wrapped()
    one = task(queue="mail")(first)
    with pytest.raises(DuplicateTask):
        task(queue="reports")(first)
    assert registry.get("first") is one


def test_a_second_schedule_does_not_replace_the_first_unseen(registry: TaskRegistry) -> None:
    first, _ = _wrapped()
    scheduled_task(cron="0 3 * * *")(first)
    with pytest.raises(DuplicateTask):
        scheduled_task(cron="0 4 * * *")(first)


MODULE = """
import functools
from saqueduct import scheduled_task, task
from tests.queue.test_same_name import logged, make_cleanup

class Service: ...

@task
@logged
async def send(ctx):
    return {result}

@scheduled_task(cron="0 3 * * *", key="early")
@scheduled_task(cron="0 9 * * *")
async def report(ctx): ...

cleanup = task(make_cleanup(Service()))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "tasks_to_load_again.py"
    path.write_text(MODULE.format(result=1))
    yield path
    sys.modules.pop(path.stem, None)
    importlib.invalidate_caches()


def load(path: Path, name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def test_a_reloaded_module_replaces_its_tasks(registry: TaskRegistry, module: Path) -> None:
    first = importlib.import_module(module.stem)
    module.write_text(MODULE.format(result=2222))
    importlib.invalidate_caches()
    importlib.reload(first)
    assert registry.get("send") is first.send
    assert "2222" in module.read_text()
    assert registry.get("cleanup") is first.cleanup
    assert [each.key for each in registry.get("report").schedules] == ["report", "early"]


@pytest.mark.parametrize("name", ["tasks_to_load_again", "__main__of_a_test"])
def test_a_module_that_is_imported_once_more_replaces_its_tasks(
    registry: TaskRegistry, module: Path, name: str
) -> None:
    importlib.import_module(module.stem)
    sys.modules.pop(module.stem)
    again = load(module, name)
    assert registry.get("send") is again.send


def test_two_modules_that_use_one_factory_cannot_share_a_name(
    registry: TaskRegistry, module: Path, tmp_path: Path
) -> None:
    importlib.import_module(module.stem)
    other = tmp_path / "others.py"
    other.write_text(
        "from saqueduct import task\nfrom tests.queue.test_same_name import make_cleanup\n"
        "task(make_cleanup('others'))\n"
    )
    with pytest.raises(DuplicateTask):
        load(other, "others")


def test_an_error_names_the_function_below_its_decorators() -> None:
    async def job(ctx: Context, *names: str) -> None: ...

    with pytest.raises(RegistrationError) as caught:
        task(logged(job))
    assert caught.value.where == first_line(job)
