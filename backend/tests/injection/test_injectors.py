"""Injectors: what is missing at start, several as one, components of dishka, and no dishka at all."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from dishka import FromComponent, Provider, Scope, make_async_container

from saqueduct import INJECTED, ConfigurationError, Context, task
from saqueduct.injection.combined import CombinedInjector
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.injection.injector import check_dependencies
from tests.fixtures.python import importing_anew, run
from tests.fixtures.python.server import BACKEND

pytestmark = pytest.mark.usefixtures("only_own_tasks")


class Named:
    """Provides parameters by name, and notes what its scope does."""

    container = None

    def __init__(self, notes: list[str], **values: object) -> None:
        self._notes, self._values = notes, values

    def provides(self, name: str, type_: Any) -> bool:
        return name in self._values

    def claims(self, name: str) -> bool:
        return name in self._values

    @asynccontextmanager
    async def scope(self, injected: Mapping[str, Any], /) -> AsyncIterator[dict[str, Any]]:
        self._notes.append(f"open {sorted(injected)}")
        try:
            yield {name: self._values[name] for name in injected}
        finally:
            self._notes.append(f"close {sorted(injected)}")

    def remedy(self, name: str, type_: Any) -> str:
        return f"name {name}"

    async def close(self) -> None:
        self._notes.append(f"end {sorted(self._values)}")


async def test_each_parameter_comes_from_the_first_injector_that_provides_it() -> None:
    notes: list[str] = []
    combined = CombinedInjector(Named(notes, a=1, b=2), Named(notes, b=3, c=4))
    async with combined.scope({"c": int, "b": int, "a": int}) as found:
        assert found == {"a": 1, "b": 2, "c": 4}
    await combined.close()
    assert notes == [
        "open ['a', 'b']", "open ['c']", "close ['c']", "close ['a', 'b']", "end ['b', 'c']", "end ['a', 'b']"
    ]  # fmt: skip


async def test_an_injector_without_a_part_opens_no_scope() -> None:
    notes: list[str] = []
    async with CombinedInjector(Named(notes, a=1), Named(notes, b=2)).scope({"b": int}) as found:
        assert found == {"b": 2}
    assert notes == ["open ['b']", "close ['b']"]


def test_what_nobody_provides_is_named_with_its_place_and_the_remedies() -> None:
    class Mailer:
        pass

    @task
    async def send(ctx: Context, *, mailer: Mailer = INJECTED, limit: int = INJECTED) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        check_dependencies(CombinedInjector(Named([], limit=1), Named([])), [send])
    message = str(caught.value)
    assert f"{send.where}: send: mailer: " in message
    assert "Mailer: name mailer, or name mailer" in message
    assert "declare a JSON type" in message
    assert "dependencies={...: Provide(...)}" in message
    assert "container=" in message
    assert "limit" not in message


def test_without_an_injector_nothing_is_provided() -> None:
    @task
    async def send(ctx: Context, *, limit: int = INJECTED) -> None: ...

    with pytest.raises(ConfigurationError, match="send: limit: int"):
        check_dependencies(None, [send])


async def test_a_component_of_the_container_is_distinguished_from_the_default_one() -> None:
    default, sizes = Provider(scope=Scope.APP), Provider(scope=Scope.APP, component="sizes")
    default.provide(lambda: 1, provides=int)
    sizes.provide(lambda: 2, provides=int)
    injector = DishkaInjector(make_async_container(default, sizes))
    other = Annotated[int, FromComponent("sizes")]
    assert injector.provides("a", int)
    assert injector.provides("b", other)
    assert not injector.provides("b", Annotated[int, FromComponent("none")])
    async with injector.scope({"a": int, "b": other}) as found:
        assert found == {"a": 1, "b": 2}


WITHOUT_DISHKA = """
import asyncio, sys
from importlib.machinery import PathFinder

class FindsNoDishka(PathFinder):
    @classmethod
    def find_spec(cls, name, *arguments):
        return None if name.partition(".")[0] == "dishka" else super().find_spec(name, *arguments)

sys.meta_path[sys.meta_path.index(PathFinder)] = FindsNoDishka
MODULES
"""

MODULES = """
import importlib, pkgutil
import saqueduct
from saqueduct import INJECTED, Context, task

# Alembic loads the migrations, with a context of its own.
others = ("saqueduct.injection.dishka", "saqueduct.postgres.migrations.")
for module in pkgutil.walk_packages(saqueduct.__path__, "saqueduct."):
    if not module.name.startswith(others) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)

@task
async def double(ctx: Context, n: int, *, factor: int = INJECTED) -> int:
    return n * factor

assert list(double.signature.payload) == ["n"]
try:
    saqueduct.FromDishka
except ModuleNotFoundError as error:
    assert "saqueduct[dishka]" in str(error), error
else:
    raise AssertionError("dishka is there")
"""


def test_all_but_dishkas_own_injector_works_without_dishka() -> None:
    code = WITHOUT_DISHKA.replace("MODULES", MODULES)
    ran = run(["-c", importing_anew(["dishka", "saqueduct"]) + code], cwd=BACKEND)
    assert ran.returncode == 0, ran.stderr
