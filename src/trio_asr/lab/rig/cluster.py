"""A private cluster of Valkey servers: primaries that share the slots evenly, each with a replica if wanted.

It is formed by commands, since the wheel has no client program. It has what a fleet wants: a primary that is
gone costs its own slots only, and is replaced after seconds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import redis

from trio_asr.lab.rig.valkey import HOST, EmbeddedServerError, EmbeddedValkey, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

SLOTS = 16_384
FORM_TIMEOUT_S = 120.0
POLL_S = 0.02


class EmbeddedCluster:
    """Some servers as one cluster, as a context manager. Replica `i` is that of primary `i` at first.

    Where nobody is to take over for anybody, `node_timeout_ms` is best a long one: on a busy machine a server
    may wait for seconds, and the others would take it for dead.
    """

    def __init__(self, primaries: int = 3, *, replicas: bool = False, node_timeout_ms: int = 5_000) -> None:
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",
        }
        # By default it is 10,000 above the other port, which may be more than there are.
        self._bus_ports = [free_port() for _ in range(primaries * (1 + replicas))]
        servers = [EmbeddedValkey(options=options | {"cluster-port": str(port)}) for port in self._bus_ports]
        self.primaries, self.replicas = servers[:primaries], servers[primaries:]

    @property
    def servers(self) -> list[EmbeddedValkey]:
        """All servers, the primaries first."""
        return self.primaries + self.replicas

    @property
    def url(self) -> str:
        """The URL of one of the servers, from which clients learn of the others."""
        return self.primaries[0].url

    def client(self, number: int) -> Any:
        """Return a client of one server, by its place in `servers`; the caller closes it."""
        return redis.Redis(HOST, self.servers[number].port)

    def start(self) -> None:
        """Start the servers and form the cluster; wait until it serves all slots, and replicas have a copy.

        Raises:
            EmbeddedServerError: A server does not start, or the cluster is not formed in time.
        """
        for server in self.servers:
            server.start()
        clients: list[Any] = [self.client(number) for number in range(len(self.servers))]
        try:
            self._form(clients)
        finally:
            for client in clients:
                client.close()

    def _form(self, clients: list[Any]) -> None:
        count = len(self.primaries)
        for i, client in enumerate(clients[:count]):
            first, last = SLOTS * i // count, SLOTS * (i + 1) // count - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", HOST, self.primaries[0].port, self._bus_ports[0])
        names = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
        _wait(lambda: all(_known(client) == len(clients) for client in clients), "the servers to meet")
        for replica, name in zip(clients[count:], names, strict=False):
            replica.execute_command("CLUSTER", "REPLICATE", name)
        _wait(lambda: all(map(_is_whole, clients)), "all slots to be served")
        # A failover during the first copy would take seconds longer than later ones.
        _wait(lambda: all(map(_has_copy, clients[count:])), "the replicas")
        _wait(lambda: all(_listed(client) == len(clients) for client in clients), "all to list all")

    def stop(self) -> None:
        """Terminate all servers and remove their files."""
        for server in self.servers:
            server.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + FORM_TIMEOUT_S
    while not done():
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"the cluster waited in vain for {what}")
        time.sleep(POLL_S)


def _known(client: Any) -> int:
    """Return the number of servers that a server knows, and has heard of."""
    lines = client.execute_command("CLUSTER", "NODES").splitlines()
    return sum(b"handshake" not in line for line in lines)


def _listed(client: Any) -> int:
    """Return the number of servers that a server tells clients of; it hears of replicas a little later."""
    ranges: Any = client.execute_command("CLUSTER SLOTS")
    return len({node[1] for _, _, *nodes in ranges for node in nodes})


def _is_whole(client: Any) -> bool:
    return b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")


def _has_copy(client: Any) -> bool:
    return bool(client.info("replication").get("master_link_status") == "up")
