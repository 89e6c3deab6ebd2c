"""Finds the injector of a job's context."""

from collections.abc import Mapping
from typing import Any

from saqueduct.injection.injector import Injector


def injector_of(context: Mapping[str, Any]) -> Injector | None:
    """The injector in the context of a job, or one of the container of dishka in it; None: it has neither."""
    injector: Injector | None = context.get("injector")
    if injector is not None or (container := context.get("container")) is None:
        return injector
    # Here: dishka may not be installed.
    from saqueduct.injection.dishka import DishkaInjector

    return DishkaInjector(container)
