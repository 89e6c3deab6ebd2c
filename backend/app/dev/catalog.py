"""Writes `app/queue/catalog.py`: the names of all tasks, and a typed property for each (`make catalog`).

The catalog imports the domains for type checkers only; at run time it looks tasks up by name.
"""

import importlib
import keyword
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saqueduct import Task
from saqueduct.blocking import Entries

CATALOG = Path(__file__).resolve().parents[1] / "queue" / "catalog.py"

HEAD = '''"""Every task by name, with typed blocking calls. Written by `make catalog`: do not edit.

    registry = container.get(TasksRegistry)
    registry.ping.delay().get(timeout=10)

Imports no domain at run time; those below are for type checkers.
"""
'''

RESERVED = {*dir(Entries), "app"}
"""Names that a property must not have: those of its class, and of the package that the class body names."""


class CatalogError(Exception):
    """Task names that cannot be in the catalog; the message says which, and what to change."""


def render(tasks: Iterable[Task[..., Any]]) -> str:
    """The module's text, by the names of the tasks.

    Raises:
        CatalogError: a task cannot be a property.
    """
    by_property = _properties(tasks)
    modules = sorted({task.function.__module__ for task in by_property.values()})
    names = "\n".join(f'    {each.upper()} = "{task.name}"' for each, task in by_property.items())
    typed = "\n".join(f"        {each} = entry_of({_path(task)})" for each, task in by_property.items())
    named = "\n".join(f"        {each} = EntryProperty(TaskName.{each.upper()})" for each in by_property)
    imports = "\n".join(f"    import {module}" for module in modules)
    return f'''{HEAD}
from enum import StrEnum
from typing import TYPE_CHECKING

from saqueduct.blocking import Entries, EntryProperty, entry_of

if TYPE_CHECKING:
{imports}


class TaskName(StrEnum):
    """The names of all tasks."""

{names}


class TasksRegistry(Entries):
    """All tasks, each with blocking calls; provided by the container. Tasks are registered in a `TaskRegistry`."""

    if TYPE_CHECKING:
{typed}
    else:
{named}
'''


def is_stale(tasks: Iterable[Task[..., Any]], path: Path) -> bool:
    """True when the file differs from what these tasks generate.

    Raises:
        CatalogError: see `render`.
    """
    return not path.exists() or path.read_text(encoding="utf-8") != render(tasks)


def property_name(task: str) -> str:
    """The property of a task: dots and hyphens of its name become underscores."""
    return task.replace(".", "_").replace("-", "_")


def _properties(tasks: Iterable[Task[..., Any]]) -> Mapping[str, Task[..., Any]]:
    by_property: dict[str, Task[..., Any]] = {}
    taken: dict[str, str] = {}
    for task in sorted(tasks, key=lambda each: each.name):
        name = property_name(task.name)
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name in RESERVED:
            raise CatalogError(f"{task.where}: the task name {task.name!r} makes no property; choose another name=")
        # In capitals, as the members of TaskName are.
        if other := taken.get(name.upper()):
            raise CatalogError(f"{task.where}: {task.name!r} and {other!r} make the same name; choose another name=")
        by_property[name], taken[name.upper()] = task, task.name
    for task in by_property.values():
        _check_importable(task)
    return by_property


def _check_importable(task: Task[..., Any]) -> None:
    found: Any = importlib.import_module(task.function.__module__)
    # Of a method of a controller the name has two parts.
    for name in task.function.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not task:
        raise CatalogError(f"{task.where}: {_path(task)} is not the task {task.name!r}: define it in its module, once")


def _path(task: Task[..., Any]) -> str:
    return f"{task.function.__module__}.{task.function.__qualname__}"
