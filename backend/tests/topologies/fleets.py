"""Three kinds of Redis that are more than one plain server: behind sentinels, a cluster, with TLS."""

import dataclasses
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from tests.fixtures.poll import eventually_sync
from tests.topologies.servers import Server, free_ports, running

PASSWORD = "p@ss/w?rd#1"
QUOTED = "p%40ss%2Fw%3Frd%231"
SENTINELS_PASSWORD = "of the sentinels"

SLOTS = 16384


@dataclasses.dataclass
class Service:
    """A master, two replicas and three sentinels."""

    data: list[Server]
    sentinels: list[Server]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://:{QUOTED}@{hosts}/main?sentinel_password=of%20the%20sentinels"

    def master(self) -> Server:
        """The one that the sentinels name."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
        [server] = [server for server in self.data if server.port == int(port)]
        return server

    def complete(self) -> bool:
        """True when each sentinel knows the others and both replicas, and these are in step."""
        for sentinel in self.sentinels:
            state = dict(_pairs(sentinel.ask("SENTINEL", "MASTER", "main")))
            if (state[b"num-slaves"], state[b"num-other-sentinels"], state[b"flags"]) != (b"2", b"2", b"master"):
                return False
        replication = self.master().client().info("replication")
        return [replication.get(f"slave{number}", {}).get("state") for number in range(2)] == ["online"] * 2


@dataclasses.dataclass
class Cluster:
    """Three masters with a third of the slots each; that of the queue `default` has a replica, so that it may fail."""

    nodes: list[Server]

    @property
    def url(self) -> str:
        # Two of them: the others are found.
        return f"redis+cluster://:{QUOTED}@127.0.0.1:{self.nodes[1].port},127.0.0.1:{self.nodes[2].port}"

    def owner(self, queue: str) -> Server:
        """The node that most of the others take for the owner of a queue's keys."""
        return self.owner_of(key_slot(f"{{{queue}}}".encode()))

    def owner_of(self, slot: int) -> Server:
        for first, last, (_, port, *_), *_ in self.nodes[2].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                [server] = [server for server in self.nodes if server.port == port]
                return server
        raise LookupError(slot)

    def complete(self) -> bool:
        """True when every node knows the replica, and this is in step."""
        replicas = [node for node in self.nodes if b"role:slave" in node.ask("INFO", "replication")]
        shares = [len(share) - 2 for node in self.nodes for share in node.ask("CLUSTER", "SLOTS")]
        return (
            len(replicas) == 1
            and b"master_link_status:up" in replicas[0].ask("INFO", "replication")
            and sum(shares) == len(self.nodes) * 4
            and all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes)
        )

    def move(self, slot: int, target: Server) -> Iterator[None]:
        """Move a slot to another node; pauses where its keys are on both."""
        source = self.owner_of(slot)
        ids = {node: node.ask("CLUSTER", "MYID") for node in (source, target)}
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        for number, key in enumerate(sorted(keys)):
            if number == len(keys) // 2:
                yield
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", key)
        for node in (target, source, *self.nodes):
            if b"role:master" in node.ask("INFO", "replication"):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def queue_of(self, node: int) -> str:
        """A name of a queue whose keys one of the first three nodes owns."""
        share = SLOTS // 3 + 1
        return next(
            name for name in (f"queue{n}" for n in range(1000)) if key_slot(f"{{{name}}}".encode()) // share == node
        )


@contextmanager
def service(directory: Path) -> Iterator[Service]:
    """A service behind sentinels, in step."""
    ports, sentinel_ports = free_ports(3), free_ports(3)
    data = [
        Server(
            directory / f"data{number}",
            port=port,
            requirepass=PASSWORD,
            masterauth=PASSWORD,
            **({"replicaof": f"127.0.0.1 {ports[0]}"} if number else {}),
        )
        for number, port in enumerate(ports)
    ]
    lines = [
        f"sentinel monitor main 127.0.0.1 {ports[0]} 2",
        f'sentinel auth-pass main "{PASSWORD}"',
        # A server of a busy machine may keep silent for longer than half a second, and is not to be replaced for it.
        "sentinel down-after-milliseconds main 3000",
        "sentinel failover-timeout main 6000",
        f'requirepass "{SENTINELS_PASSWORD}"',
        "",
    ]
    sentinels = [Server(directory / f"sentinel{port}", "\n".join(lines), port=port) for port in sentinel_ports]
    for sentinel in sentinels:
        sentinel.password = SENTINELS_PASSWORD
    found = Service(data, sentinels)
    with running(data):
        eventually_sync(lambda: found.data[0].client().info("replication")["connected_slaves"] == 2)
        with running(sentinels):
            eventually_sync(found.complete)
            yield found


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A cluster that serves all slots."""
    nodes = [
        Server(
            directory / f"node{number}",
            port=port,
            requirepass=PASSWORD,
            masterauth=PASSWORD,
            cluster_enabled="yes",
            cluster_node_timeout=3000,
            cluster_require_full_coverage="no",
        )
        for number, port in enumerate(free_ports(4))
    ]
    with running(nodes):
        share = SLOTS // 3 + 1
        for number, node in enumerate(nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                node.ask("CLUSTER", "ADDSLOTS", *range(number * share, min(SLOTS, (number + 1) * share)))
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        eventually_sync(lambda: all(_knows_all(node, len(nodes)) for node in nodes))
        found = Cluster(nodes)
        nodes[3].ask("CLUSTER", "REPLICATE", found.owner("default").ask("CLUSTER", "MYID"))
        eventually_sync(found.complete)
        yield found


def _knows_all(node: Server, count: int) -> bool:
    state = node.ask("CLUSTER", "INFO")
    known = b"cluster_known_nodes:%d\r" % count, b"cluster_slots_assigned:%d\r" % SLOTS
    return b"cluster_state:ok" in state and all(line in state for line in known)


@dataclasses.dataclass
class Encrypted:
    """A server, its sentinel and a cluster of one node, which speak TLS only, and ask for a client's certificate."""

    server: Server
    sentinel: Server
    node: Server
    authority: Path
    certificate: Path
    key: Path

    @property
    def url(self) -> str:
        return f"rediss://:{QUOTED}@localhost:{self.server.port}/0?{self._files}"

    @property
    def sentinel_url(self) -> str:
        return f"rediss+sentinel://:{QUOTED}@localhost:{self.sentinel.port}/main?{self._files}"

    @property
    def cluster_url(self) -> str:
        return f"rediss+cluster://:{QUOTED}@localhost:{self.node.port}?{self._files}"

    @property
    def _files(self) -> str:
        return f"ssl_ca_certs={self.authority}&ssl_certfile={self.certificate}&ssl_keyfile={self.key}"


@contextmanager
def encrypted(directory: Path) -> Iterator[Encrypted]:
    """A server, its sentinel, and a cluster of one node, all with TLS; not every program can: see `speaks_tls`."""
    authority, certificate, key = certificates(directory)
    ports = free_ports(3)
    files: dict[str, Any] = {
        "tls_ca_cert_file": authority,
        "tls_cert_file": certificate,
        "tls_key_file": key,
        "port": 0,
    }
    server = Server(directory / "tls", tls_port=ports[0], requirepass=PASSWORD, **files)
    lines = f'sentinel monitor main 127.0.0.1 {ports[0]} 1\nsentinel auth-pass main "{PASSWORD}"\n'
    sentinel = Server(directory / "sentinel", lines, tls_port=ports[1], tls_replication="yes", **files)
    node = Server(
        directory / "node", tls_port=ports[2], requirepass=PASSWORD, cluster_enabled="yes", tls_cluster="yes", **files
    )
    with running([server, sentinel, node]):
        node.ask("CLUSTER", "ADDSLOTS", *range(SLOTS))
        eventually_sync(lambda: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"))
        yield Encrypted(server, sentinel, node, authority, certificate, key)


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate of it for this machine with its key."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    certificate, key, request = directory / "redis.crt", directory / "redis.key", directory / "redis.csr"
    extensions = directory / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=tests", "-keyout", authority_key, "-out", authority],
        [*new, "-subj", "/CN=localhost", "-keyout", key, "-out", request],
        ["openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", authority, "-CAkey", authority_key,
         "-CAcreateserial", "-extfile", extensions, "-out", certificate],
    ):  # fmt: skip
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return authority, certificate, key


def speaks_tls(program: str) -> bool:
    """True when a server program is built with TLS: it complains of the first option that it does not know."""
    command = [program, "--port", "0", "--tls-port", "0", "--no-such-option", "yes"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "tls-port" not in answer.stdout + answer.stderr


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
