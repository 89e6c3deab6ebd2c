"""The function of a controller's task: creates an instance of the class and calls the method.

The rest of the library treats it like any function decorated with `@task`. Its parameters are those of the method
and those of the constructor, which are injected.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from saqueduct.errors import RegistrationError
from saqueduct.tasks.parameters import bare, dependency, type_hints
from saqueduct.tasks.signature import INJECTED

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def is_method(function: Any) -> bool:
    """True for a function in the body of a class, whose first parameter is `self`."""
    if not inspect.isfunction(function):
        return False
    enclosing = function.__qualname__.rpartition(".")[0]
    names = list(inspect.signature(function).parameters)
    return bool(enclosing) and not enclosing.endswith("<locals>") and names[:1] == ["self"]


def function_of(controller: type, method: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes the parameters of the method and of the constructor, by name.

    Raises:
        RegistrationError: a parameter that both have has two types, or is not injected into the method; an annotation
            of the constructor cannot be resolved at run time.
    """
    constructor = _constructor(controller)
    own = list(inspect.signature(method).parameters.values())[1:]
    hints = type_hints(method)
    for name in constructor.keys() & {each.name for each in own}:
        _check_shared(controller, method, name, hints.get(name, Any), constructor[name])
    shared = {each.name for each in own} & constructor.keys()
    only = constructor.keys() - shared

    def instance(arguments: dict[str, Any]) -> Any:
        taken = {name: arguments.pop(name) for name in only}
        return controller(**taken, **{name: arguments[name] for name in shared})

    run = _async(method, instance) if inspect.iscoroutinefunction(method) else _sync(method, instance)
    functools.update_wrapper(run, method)
    # The name of this class, even if a base class defines the method.
    run.__module__, run.__qualname__ = controller.__module__, f"{controller.__qualname__}.{method.__name__}"
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=INJECTED) for name in sorted(only)]
    run.__annotations__ = {**hints, **{name: constructor[name] for name in only}}
    vars(run)["__signature__"] = inspect.signature(method).replace(parameters=_in_order(own, added))
    return run


def _async(method: Callable[..., Any], instance: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    async def run(ctx: Any, /, *args: Any, **arguments: Any) -> Any:
        return await method(instance(arguments), ctx, *args, **arguments)

    return run


def _sync(method: Callable[..., Any], instance: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    def run(ctx: Any, /, *args: Any, **arguments: Any) -> Any:
        return method(instance(arguments), ctx, *args, **arguments)

    return run


def _in_order(own: list[inspect.Parameter], added: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """The parameters of both; those of the constructor come before a `**kwargs` of the method."""
    further = [each for each in own if each.kind is inspect.Parameter.VAR_KEYWORD]
    return [*(each for each in own if each not in further), *added, *further]


def _constructor(controller: type) -> Mapping[str, Any]:
    """The injected parameters of a constructor, name -> type: those without a default."""
    _, *parameters = inspect.signature(vars(controller).get("__init__", controller.__init__)).parameters.values()  # type: ignore[misc]
    hints = type_hints(controller.__init__)  # type: ignore[misc]
    injected = {}
    for each in parameters:
        if each.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise RegistrationError(
                controller, f"the parameter {each.name!r} of its constructor is positional-only: remove the `/`"
            )
        if each.kind in _NAMED and each.default in (inspect.Parameter.empty, INJECTED):
            hint = hints.get(each.name, Any)
            injected[each.name] = dependency(hint) or bare(hint)
    return injected


def _check_shared(controller: type, method: Callable[..., Any], name: str, hint: Any, of_constructor: Any) -> None:
    """Check that a parameter which both method and constructor have is injected, and has the same type in both."""
    default = inspect.signature(method).parameters[name].default
    injected = dependency(hint) or (bare(hint) if default is INJECTED else None)
    if injected is None:
        raise RegistrationError(
            method, f"the argument {name!r} has the name of an injected parameter of the constructor of "
            f"{controller.__qualname__}: rename one of them",
        )  # fmt: skip
    if injected != of_constructor:
        raise RegistrationError(
            method, f"the parameter {name!r} has another type than that of the constructor of "
            f"{controller.__qualname__}: rename one of them",
        )  # fmt: skip
