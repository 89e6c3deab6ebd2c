"""Redis behind sentinels, as a cluster and with TLS, each started once a run when a test wants it."""

import shutil
from collections.abc import Iterator

import pytest

from app.dev.redis import find_program
from tests.fixtures.servers import scratch_directory
from tests.topologies import fleets
from tests.topologies.fleets import Cluster, Encrypted, Service


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
