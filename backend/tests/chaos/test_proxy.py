"""The network of the chaos tests."""

import gc
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import Network


class Clients:
    """Connects again and again, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = False
        self.many = threading.Event()
        """Set when some have connected."""
        self._thread = threading.Thread(target=self._connect)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over = True
        self._thread.join()

    def _connect(self) -> None:
        count = 0
        while not self._over:
            with socket.socket() as client, suppress(OSError):
                client.connect(("127.0.0.1", self._port))
                count += 1
                if count == 20:
                    self.many.set()


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_it_closes_connections_that_it_has_just_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        for _ in range(10):
            with Network(str(tmp_path / "socket")) as network:
                clients = Clients(network.port)
                clients.start()
                assert clients.many.wait(30)
            clients.stop()
    gc.collect()
    assert [str(each.exc_value) for each in left] == []
