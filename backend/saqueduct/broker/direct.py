"""Direct connections: redis-py's connections, changed to send immediately.

redis-py 8.1 packs an asynchronous command in Python, and sends it in a task that it creates for the timeout: it is
sent one or two turns of the event loop later, after everything else that runs in them. A busy worker would wait for
Redis, and Redis for the worker.
"""

import asyncio
from typing import Any

import hiredis
from redis.asyncio import connection as asynchronous

from saqueduct.broker.batch_sizes import LARGEST_COMMAND
from saqueduct.errors import CommandTooLarge

_pack: Any = hiredis.pack_command


class Direct(asynchronous.AbstractConnection):
    """Sends a command in the call itself; data that the socket does not accept immediately is sent by redis-py.

    Attributes:
        largest_command: maximum bytes of a command.
    """

    largest_command = LARGEST_COMMAND

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command in wire format, packed by hiredis, as redis-py does for threads.

        Raises:
            CommandTooLarge: Redis would close the connection, which would look like an outage.
        """
        command, *others = args
        words = command.encode().split() if isinstance(command, str) else command.split()
        try:
            packed = _pack((*words, *others))
        except TypeError:
            # A type that only redis-py supports, or refuses with its own error.
            return super().pack_command(*args)
        if len(packed) > self.largest_command:
            raise CommandTooLarge(words[0].decode(), len(packed), self.largest_command)
        return [packed]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a packed command; first connects or checks an idle connection, as redis-py does."""
        writer = self._writer
        if writer is not None and writer.is_closing():
            # The server has reset it. redis-py would still write to it, which uvloop reports as a mistake.
            await self.disconnect(nowait=True)
            writer = None
        if writer is None or isinstance(command, str | bytes) or self._is_doubtful():
            await super().send_packed_command(command, check_health)
            return
        writer.writelines(command)
        if writer.transport.get_write_buffer_size():
            await super().send_packed_command([], check_health=False)

    def _is_doubtful(self) -> bool:
        return bool(self.health_check_interval) and asyncio.get_running_loop().time() > self.next_health_check


class DirectConnection(Direct, asynchronous.Connection):
    """To a host and port."""


class DirectSSLConnection(Direct, asynchronous.SSLConnection):
    """To a host and port, with TLS."""


class DirectUnixDomainSocketConnection(Direct, asynchronous.UnixDomainSocketConnection):
    """To a path."""
