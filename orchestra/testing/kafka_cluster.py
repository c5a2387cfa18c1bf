"""How is a Kafka cluster started, watched, broken on purpose and ended on this machine?

A cluster is a directory (see ``kafka_state``): any later process can find it, and ends nothing but its nodes.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_guard import Guard
from orchestra.testing.kafka_jars import Program, find_program
from orchestra.testing.kafka_lock import exclusive
from orchestra.testing.kafka_node import Node, free_ports, is_free, prepare
from orchestra.testing.kafka_process import Process, spawn
from orchestra.testing.kafka_readiness import is_ready
from orchestra.testing.kafka_state import Layout, load_state, save_state

if TYPE_CHECKING:
    from rich.console import Console

_READY_SECONDS = 90.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05


class KafkaCluster:
    """An Apache Kafka of one or more nodes on this machine, each broker and controller in one process.

    Made by :meth:`start` or :meth:`find`. Every method blocks; in async code call them through ``asyncio.to_thread``.
    """

    def __init__(self, directory: Path, layout: Layout, pids: dict[int, int], *, guarded: bool = False) -> None:
        self.directory = directory
        self._layout = layout
        self._guarded = guarded
        self._guard: Guard | None = None
        self._processes = {number: self._known(number, pid) for number, pid in pids.items()}

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        name: str = "default",
        brokers: int = 1,
        port: int = 0,
        guarded: bool = False,
        console: Console | None = None,
    ) -> KafkaCluster:
        """A new cluster in an empty or missing directory, ready to be used. Takes 2 s, three brokers 4 s.

        Args:
            directory: holds everything the cluster writes.
            name: what people call it.
            brokers: how many nodes.
            port: where the first broker listens, the others above it; 0 takes free ports.
            guarded: end the nodes and remove the directory when this process ends, even by ``kill -9``.
            console: shows a first download.

        Raises:
            LocalKafkaError: no Java, no jars, a port is taken, or a node died; the text holds the end of its log.
        """
        if load_state(directory) is not None:
            raise LocalKafkaError(f"There is a cluster in {directory} already")
        program = find_program(console)
        layout = Layout.plan(name, directory, _choose_ports(brokers, port))
        directory.mkdir(parents=True, exist_ok=True)
        save_state(directory, layout, {})
        cluster = cls(directory, layout, {}, guarded=guarded)
        try:
            cluster._launch(layout.nodes, program)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @classmethod
    def find(cls, directory: Path) -> KafkaCluster | None:
        """The cluster that lives in a directory, running or not; None if there is none."""
        state = load_state(directory)
        return None if state is None else cls(directory, *state)

    @classmethod
    def ensure(
        cls,
        directory: Path,
        *,
        name: str = "default",
        brokers: int | None = None,
        port: int = 0,
        console: Console | None = None,
    ) -> tuple[KafkaCluster, bool]:
        """The cluster in a directory, running: as it was found, started again on its data, or made.

        Idempotent; of several processes at once one starts it. A cluster that exists keeps its ports.

        Args:
            directory, name, port, console: as in :meth:`start`.
            brokers: how many nodes; default 1, or as many as the cluster has.

        Returns:
            The cluster, and whether anything had to be started.

        Raises:
            LocalKafkaError: as in :meth:`start`; or the cluster exists with another number of brokers.
        """
        with exclusive(directory.parent / f".{directory.name}.lock"):
            found = cls.find(directory)
            if found is None:
                return cls.start(directory, name=name, brokers=brokers or 1, port=port, console=console), True
            if brokers not in (None, len(found.nodes)):
                raise LocalKafkaError(
                    f"'{found.name}' exists with {len(found.nodes)} broker(s): end it first, or choose another name"
                )
            return found, found.start_missing()

    @property
    def name(self) -> str:
        return self._layout.name

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self._layout.nodes

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` of every node, with commas, as clients take it."""
        return ",".join(node.address for node in self.nodes)

    def process(self, node_id: int) -> Process | None:
        """The node's process, if it was ever started; it may have ended."""
        self.node(node_id)
        return self._processes.get(node_id)

    def node(self, node_id: int) -> Node:
        """The node with that id: 1, 2, 3 … Raises KeyError if there is none."""
        return {node.id: node for node in self.nodes}[node_id]

    def is_alive(self, node_id: int) -> bool:
        """Whether the node's process runs (or is paused)."""
        process = self.process(node_id)
        return process is not None and process.is_alive()

    def start_missing(self) -> bool:
        """Start the nodes that do not run, with the data they had. False if every node ran already.

        Raises:
            LocalKafkaError: a port was taken meanwhile, or a node died.
        """
        down = [node for node in self.nodes if not self.is_alive(node.id)]
        if down:
            self._launch(down, find_program())
        return bool(down)

    def kill(self, node_id: int) -> None:
        """``kill -9`` a node, and wait until it is gone. Nothing happens if it does not run."""
        self._end([node_id], signal.SIGKILL)

    def restart(self, node_id: int) -> None:
        """Kill a node if it runs, start it again on its data, and wait as :meth:`wait_ready` does. Takes 3-5 s."""
        self.kill(node_id)
        self._launch([self.node(node_id)], find_program())

    def pause(self, node_id: int) -> None:
        """SIGSTOP: the node answers nobody and closes no connection, until :meth:`resume`."""
        self._signal(node_id, signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        """SIGCONT: the node goes on where it was paused."""
        self._signal(node_id, signal.SIGCONT)

    def stop(self, *, keep: bool = False) -> None:
        """End every node and remove the directory. Idempotent. ``keep``: end them in good order and keep the data."""
        everyone = [node.id for node in self.nodes]
        if keep:
            for process in self._processes.values():
                process.send(signal.SIGCONT)  # a paused process takes no SIGTERM
            self._end(everyone, signal.SIGTERM)
        self._end(everyone, signal.SIGKILL)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def wait_ready(self, timeout: float = _READY_SECONDS) -> None:
        """Return when every running node knows every running broker, a topic can be created on all of them, and the
        replicas they hold are in sync. Nodes that are down are not waited for.

        Raises:
            LocalKafkaError: that many seconds have passed, or a node died meanwhile, or none runs.
        """
        running = [node for node in self.nodes if self.is_alive(node.id)]
        if not running:
            raise LocalKafkaError(f"No node of '{self.name}' runs")
        self._wait_ready(running, timeout)

    def _launch(self, nodes: Sequence[Node], program: Program) -> None:
        if self._guarded and self._guard is None:
            self._guard = Guard(self.directory)
        for node in nodes:
            _require_free(node)
            prepare(node, self.nodes, self._layout.cluster_id, program.jars)
            process = spawn(node.command(program), mark=str(node.settings), log=node.log)
            self._processes[node.id] = process
            if self._guard is not None:
                self._guard.watch(process.pid)
            save_state(self.directory, self._layout, {number: one.pid for number, one in self._processes.items()})
        started = set(nodes)
        self._wait_ready([one for one in self.nodes if one in started or self.is_alive(one.id)], _READY_SECONDS)

    def _wait_ready(self, awaited: Sequence[Node], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not is_ready(awaited):
            for node in awaited:
                if not self.is_alive(node.id):
                    raise LocalKafkaError(f"Kafka's node {node.id} ended. The end of its log:\n{node.last_words()}")
            if time.monotonic() > deadline:
                words = "\n".join(f"node {node.id}: {node.last_words(5)}" for node in awaited)
                raise LocalKafkaError(f"Kafka was not ready within {timeout:.0f} s.\n{words}")
            time.sleep(_POLL_SECONDS)

    def _known(self, node_id: int, pid: int) -> Process:
        return Process(pid, str(self.node(node_id).settings))

    def _signal(self, node_id: int, number: signal.Signals) -> None:
        process = self.process(node_id)
        if process is None or not process.send(number):
            raise LocalKafkaError(f"Kafka's node {node_id} of '{self.name}' does not run")

    def _end(self, node_ids: Iterable[int], number: signal.Signals) -> None:
        ended = [one for one in map(self.process, node_ids) if one is not None and one.send(number)]
        _wait(lambda: not any(process.is_alive() for process in ended), _STOP_SECONDS)


def _choose_ports(brokers: int, first: int) -> list[tuple[int, int]]:
    if brokers < 1:
        raise LocalKafkaError("A cluster needs at least one broker")
    chosen = free_ports(2 * brokers)
    clients = list(range(first, first + brokers)) if first else chosen[:brokers]
    for port in clients:
        if not is_free(port):
            raise LocalKafkaError(f"Port {port} is taken by another program. Choose another port, or 0 for a free one")
    return list(zip(clients, chosen[brokers:], strict=True))


def _require_free(node: Node) -> None:
    for port in (node.port, node.controller_port):
        if not is_free(port):
            raise LocalKafkaError(f"Port {port} of node {node.id} has been taken by another program meanwhile")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
