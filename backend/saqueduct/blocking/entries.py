"""Entries: the tasks of the catalogue with blocking calls."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, Self, TypeVar, cast, overload

from saqueduct.common.near_names import did_you_mean
from saqueduct.queue.queues import Queues
from saqueduct.tasks.blocking.entry import Entry
from saqueduct.tasks.blocking.portal import Portal
from saqueduct.tasks.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class Entries:
    """The tasks of this process, each with blocking calls, by name; base of the generated `TasksRegistry`.

        registry["todo.cleanup"].delay(days=7)

    Args:
        queues: connected by the time of the first call; tasks that run here are injected by their injector.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._portal = Portal(queues)

    def __getitem__(self, name: str) -> "Entry[..., Any]":
        """The entry of a task, also of one that the catalogue was written before.

        Raises:
            UnknownTask: there is none of that name.
        """
        return Entry(self._queues.tasks.get(name), self._portal, self._queues)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            properties = {each.replace(".", "_"): each for each in self}
            if task := properties.get(name):
                hint = f"is not in the catalogue yet: run `make catalog`, or take registry[{task!r}]"
            else:
                hint = f"is no task: {did_you_mean(name, properties, 'print(registry) lists them')}"
            raise AttributeError(f"{name!r} {hint}", name=name, obj=self)

    def __iter__(self) -> Iterator[str]:
        return (task.name for task in self._queues.tasks.get_all_tasks())

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __len__(self) -> int:
        return len(self._queues.tasks.get_all_tasks())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self)}>"


class EntryProperty(Generic[P, R]):
    """A task as a property of `Entries`, looked up by its name when it is used.

    Args:
        name: the task's.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type[Entries]) -> Self: ...
    @overload
    def __get__(self, instance: Entries, owner: type[Entries]) -> Entry[P, R]: ...
    def __get__(self, instance: Entries | None, owner: type[Entries]) -> Self | Entry[P, R]:
        return self if instance is None else cast("Entry[P, R]", instance[self.name])


def entry_of(task: Task[P, R]) -> EntryProperty[P, R]:
    """A task as a property that is typed as the task's function."""
    return EntryProperty(task.name)
