"""The argument `by` of the library's own tasks, which notes who has asked for a job."""

from typing import Any, Final

from saqueduct.tasks.definition import TaskDefinition

MODULE: Final = "saqueduct.postgres.built_in_tasks"


def asked_by(task: TaskDefinition, arguments: dict[str, Any], by: str) -> dict[str, Any]:
    """The arguments with the name of the person who asks, where the task is one of the library and notes it."""
    notes = task.function.__module__ == MODULE and "by" in task.signature.payload
    return {**arguments, "by": by} if notes else arguments
