"""When is a cluster ready? Listening is not enough: every node knows every broker, topics can be created, and what was
lost while a node was down is replicated again."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from orchestra.testing.kafka_node import HOST, Node


def listens(node: Node) -> bool:
    """Whether something accepts connections at the node's address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, node.port)) == 0


def is_ready(nodes: Sequence[Node]) -> bool:
    """Whether each of these nodes, asked on its own, knows all of them, would create a topic on all of them, and finds
    in sync every replica that one of them holds.

    Leaves nothing behind. Blocks for a few ms per node, 3 s at most. May be called inside a running event loop.
    """
    if not all(map(listens, nodes)):
        return False
    return _in_own_thread(lambda: _ask_all(nodes))


async def _ask_all(nodes: Sequence[Node]) -> bool:
    ids = {node.id for node in nodes}
    try:
        async with asyncio.timeout(3):
            return all([await _ask(node, ids) for node in nodes])
    except TimeoutError:
        return False


async def _ask(node: Node, ids: set[int]) -> bool:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(bootstrap_servers=node.address, request_timeout_ms=2000)
    try:
        await admin.start()
        if not ids <= {broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]}:
            return False
        probe = NewTopic("orchestra-ready", num_partitions=1, replication_factor=len(ids))
        answer: Any = await admin.create_topics([probe], validate_only=True)
        if any(topic[1] != 0 for topic in answer.topic_errors):
            return False
        return all(in_sync(topic, ids) for topic in await admin.describe_topics())
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()


def in_sync(topic: Mapping[str, Any], ids: set[int]) -> bool:
    """Whether the topic's replicas on those brokers are in sync, as ``describe_topics`` tells."""
    return all(ids & set(one["replicas"]) <= set(one["isr"]) for one in topic["partitions"])


def _in_own_thread(work: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    # The caller may be inside a test's event loop, or in a pytest hook that must not lose its loop.
    answers: list[bool] = []
    quiet = logging.getLogger("aiokafka")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # a node that is not ready yet is no news
    try:
        thread = threading.Thread(target=lambda: answers.append(asyncio.run(work())), name="kafka-readiness")
        thread.start()
        thread.join()
    finally:
        quiet.setLevel(level)
    return answers == [True]
