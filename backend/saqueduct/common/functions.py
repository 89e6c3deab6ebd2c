"""Inspects functions: unwraps decorators, partials and methods, finds the source line, compares two functions."""

import functools
import inspect
import itertools
import sys
from types import CellType, CodeType, FrameType, FunctionType, MethodType
from typing import Any

_PACKAGE = __name__.partition(".")[0]

_DEEPEST = 100
"""Maximum number of decorators to unwrap: an object that has every attribute would never end."""

_PLAIN = (str, bytes, int, float, complex, bool, CodeType)
"""Types whose values are the same when they are equal; all others are compared by identity."""


class _Unfilled:
    """A variable of an enclosing function that has no value yet: in most cases the function's own name."""


def undecorated(function: Any) -> Any:
    """The function below its decorators (`functools.wraps`), partials and methods; anything else unchanged."""
    for _ in range(_DEEPEST):
        below = _below(function)
        if below is None:
            break
        function = below
    return function


def location(thing: Any) -> str:
    """`file:line` of a function below its decorators, or of a class, a callable object, a coroutine.

    For an object without source, such as a C function, it is the line that passes it to this package.
    """
    found = undecorated(thing)
    code = _code(found)
    if code is None and inspect.isclass(found):
        return _location_of_class(found) or _caller()
    if code is None:
        code = _code(undecorated(vars(type(found)).get("__call__")))
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else _caller()


def module_run() -> CodeType | None:
    """The code object of the module that is being executed; each load of a module creates a new one."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame and frame.f_code


def is_run_again(first: CodeType | None, second: CodeType | None) -> bool:
    """True for two runs of one file: the module was reloaded, or imported under another name, such as `__main__`."""
    if first is None or second is None or first is second:
        return False
    # "<string>" and "<stdin>" are not files: different pieces of code share these names.
    return first.co_filename == second.co_filename and not first.co_filename.startswith("<")


def at_one_place(one: Any, other: Any) -> bool:
    """True for functions that come from the same place in the source, below their decorators."""
    first, second = _code(undecorated(one)), _code(undecorated(other))
    if first is None or second is None:
        return one is other
    return (first.co_filename, first.co_firstlineno, first.co_qualname) == (
        second.co_filename,
        second.co_firstlineno,
        second.co_qualname,
    )


def are_alike(one: Any, other: Any, seen: tuple[tuple[int, int], ...] = ()) -> bool:
    """True for equivalent functions: the same code, defaults and enclosed values, at each decorator level.

    A factory that is called with different values returns functions that are not alike.
    """
    if one is other or isinstance(one, _Unfilled) or isinstance(other, _Unfilled) or (id(one), id(other)) in seen:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, _PLAIN):
        return bool(one == other)
    parts, others = _parts(one), _parts(other)
    if parts is None or others is None or len(parts) != len(others):
        return False
    # A function may enclose itself.
    seen = (*seen, (id(one), id(other)))
    return all(are_alike(each, its, seen) for each, its in zip(parts, others, strict=True))


def unfit(function: Any) -> str:
    """Why this cannot be a task, and what to write instead; empty if it can."""
    if inspect.isclass(function):
        return "is a class, only functions can be tasks: decorate a function that creates an instance and calls it"
    if inspect.isawaitable(function) or inspect.isgenerator(function) or inspect.isasyncgen(function):
        return f"is a {type(function).__name__}, the result of a call: decorate the function itself, do not call it"
    if not inspect.isfunction(function):
        kind = "method" if inspect.ismethod(function) else type(function).__name__
        return f"is a {kind}, only functions can be tasks: decorate a `def` or `async def` that calls it"
    if _is_generator_function(function) or (_is_of_contextlib(function) and _is_generator_function(_below(function))):
        return (
            "is a generator function, a call of which runs nothing and returns what JSON cannot carry: "
            "return a list, or enqueue a job for each item"
        )
    return ""


def _is_generator_function(function: Any) -> bool:
    if inspect.isasyncgenfunction(function):
        return True
    # Generators marked by `types.coroutine` are awaited.
    return inspect.isgeneratorfunction(function) and not function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE


def _is_of_contextlib(function: Any) -> bool:
    return getattr(function, "__globals__", {}).get("__name__") == "contextlib"


def _below(function: Any) -> Any:
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, MethodType | staticmethod | classmethod):
        return function.__func__
    below = getattr(function, "__wrapped__", None)
    return below if callable(below) and below is not function else None


def _code(thing: Any) -> CodeType | None:
    names = ("__code__", "cr_code", "gi_code", "ag_code")
    found = (getattr(thing, name, None) for name in names)
    return next((code for code in found if isinstance(code, CodeType)), None)


def _location_of_class(found: type) -> str:
    try:
        return f"{inspect.getsourcefile(found)}:{inspect.getsourcelines(found)[1]}"
    except (OSError, TypeError):
        return ""


def _caller() -> str:
    """The line that called this package."""
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(_PACKAGE + "."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _parts(thing: Any) -> list[Any] | None:
    """What identifies a function; None for objects that are compared by identity."""
    if isinstance(thing, FunctionType):
        return [
            thing.__code__,
            *(thing.__defaults__ or ()),
            *itertools.chain.from_iterable(sorted((thing.__kwdefaults__ or {}).items())),
            *map(_content, thing.__closure__ or ()),
        ]
    if isinstance(thing, MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *itertools.chain.from_iterable(sorted(thing.keywords.items()))]
    return list(thing) if isinstance(thing, tuple) else None


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _Unfilled()
