"""The registry of this application: every `@task` and `@scheduled_task` in a domain's `tasks.py` registers here."""

from saqueduct import get_registry, scheduled_task, task

add_controller = get_registry().add_controller

__all__ = ["add_controller", "get_registry", "scheduled_task", "task"]
