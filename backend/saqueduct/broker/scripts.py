"""The Lua scripts of the engine, one file each in `lua/`; what a script uses of `prelude.lua` is prepended to it."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from saqueduct.broker.connections import lines_of
from saqueduct.broker.keys import KEYS
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import refuses_all
from saqueduct.common import clock

LIMITS = ("lanes", "limits", "limits_waits", "limits_visits", "limits_checks")
"""The files for jobs with limits; `flow` ends the function that they are."""

PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("abort", "dangling", "expired", "orphans", "promote", "set_limit", "state", "stir", "take", "why"),
        (*LIMITS, "flow"),
    ),
    **dict.fromkeys(("enqueue", "fire", "publish", "trigger"), (*LIMITS, "flow", "debounce", "cancel", "admit")),
    "lease": (*LIMITS, "lane_shapes", "quick_visits", "visits", "flow"),
    "settle": (*LIMITS, "flow", "releases"),
    "declare": (*LIMITS, "flow", "declarations"),
    "due": ("declarations",),
}
"""The files inserted between the prelude and a script."""

# Not when the first script is read: if another thread forks meanwhile, the modules that this imports would stay half
# imported in the new process.
_FOLDER = files("saqueduct.broker") / "lua"


_STATEMENT = re.compile(r"^local function (\w+).*?^end$|^local (\w+(?:, \w+)*)[^\n]*$", re.MULTILINE | re.DOTALL)
"""A statement of the prelude that stands alone: a function, or a line that defines names."""

_FUNCTION = re.compile(r"^local function .*\n", re.MULTILINE)

_COMMENT = re.compile("--[^\n]*")
_NAME = re.compile(r"(?<![\w.:])[A-Za-z]\w*")


class _Statement(NamedTuple):
    """A statement of a file that stands alone.

    Attributes:
        lua: its text.
        defines: the names that it gives.
        uses: all names in it.
    """

    lua: str
    defines: frozenset[str]
    uses: frozenset[str]


def _names_in(lua: str) -> frozenset[str]:
    """The names in a text, without those of members and in comments."""
    return frozenset(_NAME.findall(_COMMENT.sub("", lua)))


# Each file is read once, not for each script that has it: a worker needs many of them before its first job.


@cache
def _read(part: str) -> str:
    return (_FOLDER / f"{part}.lua").read_text()


@cache
def _statements(part: str) -> tuple[_Statement, ...]:
    return tuple(
        _Statement(found[0], frozenset((found[1] or found[2]).split(", ")), _names_in(found[0]))
        for found in _STATEMENT.finditer(_read(part))
    )


def _used(part: str, names: Iterable[str]) -> tuple[_Statement, ...]:
    """The statements of a file that define these names, or what others of them use."""
    used, kept = set(names), list[_Statement]()
    for statement in reversed(_statements(part)):
        if not used.isdisjoint(statement.defines):
            kept.append(statement)
            used |= statement.uses
    return tuple(reversed(kept))


@cache
def _inserted(part: str) -> tuple[str, frozenset[str]]:
    """The text of a file as a script has it, and its names."""
    text = _read(part)
    if part == "releases":
        # Not once for all scripts and jobs: plain jobs do not pay for what only this function uses.
        lanes = [statement.lua for statement in _used("lanes", _names_in(text))]
        text = _FUNCTION.sub(lambda head: "\n".join((head[0], *lanes, "")), text, count=1)
    return text, _names_in(text)


@cache
def _assembled(name: str) -> tuple[str, tuple[str, ...]]:
    """The text of a script, and the names of its keys.

    Redis makes each function, and reads each key, again at each call; all of them would cost as much as ten jobs.
    """
    body, names = zip(*map(_inserted, (*PARTS.get(name, ()), name)), strict=True)
    used = frozenset[str]().union(*names)
    shared = _used("prelude", used)
    used = used.union(*(statement.uses for statement in shared))
    # At least one: a cluster looks for the node by it.
    keys = tuple(key for key in KEYS if key in used) or ("INCOMPLETE",)
    named = f"local {', '.join(keys)} = {', '.join(f'KEYS[{n}]' for n in range(1, len(keys) + 1))}"
    return "\n".join((named, *(statement.lua for statement in shared), "".join(body))), keys


def source(name: str) -> str:
    """The text of a script, with what it uses of the prelude."""
    return _assembled(name)[0]


@cache
def digest(name: str) -> str:
    """The SHA-1 digest by which Redis identifies a script that it has run."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def pack(jobs: Sequence[Any]) -> bytes:
    """Many jobs as one script argument, which `cmsgpack.unpack` reads: cheaper than one argument per field."""
    return msgspec.msgpack.encode(jobs)


def text(payload: bytes | str) -> str | msgspec.Raw:
    """A payload to pack: bytes, possibly not UTF-8, as MessagePack's long text, the only type that Redis reads."""
    if isinstance(payload, str):
        return payload
    return msgspec.Raw(b"\xdb" + len(payload).to_bytes(4, "big") + payload)


class Scripts:
    """The scripts of one queue.

    Args:
        redis: the Redis client.
        namespace: returns a key of the queue.
        prefix: prefix of the ids of its jobs.
        stock_aborts: prefix of the abort keys of stock SAQ.
        guard: guard of the client's connections.
    """

    def __init__(
        self, redis: Redis, namespace: Callable[[str], str], prefix: str, stock_aborts: str, guard: LoopGuard
    ) -> None:
        self._namespace = namespace
        self.prefix = prefix
        self._stock_aborts = stock_aborts.encode()
        self.lines, self.waiting = lines_of(redis, guard)
        self._heads: dict[str, tuple[Any, ...]] = {}
        """Of a script that was called the first arguments, in wire format: redis-py would encode each at each call."""

    def keys(self, name: str) -> list[str]:
        """The keys of a script."""
        return [self._namespace(KEYS[key]) for key in _assembled(name)[1]]

    def common(self) -> tuple[Any, ...]:
        """The first arguments of every script."""
        return self.prefix, clock.offset(), self._stock_aborts

    async def run(self, name: str, *args: Any, again: bool = True) -> Any:
        """Run a script with its own arguments; its file documents the answer.

        Args:
            name: name of the script.
            args: arguments after the common ones.
            again: see `Lines.call`.

        Raises:
            ConnectionError: redis-py's; Redis is down, or currently refuses everything.
        """
        [answer] = await self.lines.call(self.command(name, *args), again=again)
        if isinstance(answer, NoScriptError):
            [answer] = await self.lines.call(("EVAL", source(name), *self._arguments(name, args)), again=again)
        return self.raised(answer)

    def command(self, name: str, *args: Any) -> tuple[Any, ...]:
        """The command that runs a script that Redis already has; see `run`."""
        return ("EVALSHA", digest(name), *self._arguments(name, args))

    def raised(self, answer: Any) -> Any:
        """An answer of Redis; errors are raised, and an error that affects all commands counts as an outage."""
        if isinstance(answer, ResponseError) and not isinstance(answer, NoScriptError) and refuses_all(answer):
            raise RedisConnectionError(str(answer) or type(answer).__name__) from answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _arguments(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        head = self._heads.get(name)
        if head is None:
            keys = self.keys(name)
            head = self._heads[name] = (len(keys), *(key.encode() for key in keys), self.prefix.encode())
        return (*head, clock.offset(), self._stock_aborts, *args)
