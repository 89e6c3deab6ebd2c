"""The registry of this application: every `@task` and `@scheduled_task` of a domain's `tasks.py` lands here."""

from saqueduct.tasks.registry import get_registry, scheduled_task, task

__all__ = ["get_registry", "scheduled_task", "task"]
