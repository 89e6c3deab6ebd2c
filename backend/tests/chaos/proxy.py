"""A network between a process and its server that can be slow, silent, or cut."""

import asyncio
import random
import threading
from contextlib import suppress


class Network:
    """Forwards connections from a TCP port of this machine to a server's unix socket, in a thread of its own.

    Args:
        socket: path of the unix socket.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.delay = 0.0
        """Seconds that each packet takes, each way; up to as much again by chance."""
        self.silent = False
        """True: connections are accepted and kept, and nothing passes, as when the server's process is stopped."""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="network", daemon=True)

    def __enter__(self) -> "Network":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Cut every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        self._loop.run_forever()
        # Closed last: asyncio (3.11) leaves a connection open that it has accepted and not yet given to the server.
        for listening in server.sockets:
            self._loop.remove_reader(listening)
        self._loop.run_until_complete(self._all_over())
        server.close()
        self._loop.close()

    async def _all_over(self) -> None:
        # A connection that was just accepted still makes tasks of its own, and is known once the first of them runs.
        await asyncio.sleep(0)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._cut()
        # The event loop closes a connection in its next turn.
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Known from here on: a task that is cancelled before it begins closes nothing.
        self._writers.add(writer)
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        both = {writer}
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
            both.add(there_writer)
            self._writers.add(there_writer)
            await self._forward(reader, writer, there_reader, there_writer)
        except OSError:
            # The server is away: the client learns it by the end of its connection.
            pass
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        passing = [
            asyncio.create_task(self._pass(reader, there_writer)),
            asyncio.create_task(self._pass(there_reader, writer)),
        ]
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay * (1 + random.random()))  # noqa: S311  (spread, not secrecy)
                while self.silent:  # noqa: ASYNC110  (set in another thread)
                    await asyncio.sleep(0.01)
                writer.write(data)
                await writer.drain()
