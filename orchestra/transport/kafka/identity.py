"""How is a producer id with its epoch taken? Kafka's InitProducerId, with and without a transactional id.

aiokafka has no public call for it; its request classes do it. No transaction is ever begun with these.
"""

from __future__ import annotations

from typing import cast

from aiokafka.protocol.transaction import InitProducerIdRequest

from orchestra.transport.kafka.failures import NO_ERROR, failure
from orchestra.transport.kafka.network import TRANSACTION, Network
from orchestra.transport.port import Identity

_TRANSACTION_TIMEOUT_MS = 60_000
"""Never used, as there are no transactions; brokers refuse more than their transaction.max.timeout.ms."""


async def take_identity(network: Network, transactional_id: str | None = None) -> Identity:
    """A new identity: an id of its own, or one epoch above the last of ``transactional_id``.

    Raises:
        UnreachableError, AccessDeniedError.
    """

    async def attempt() -> Identity:
        request = InitProducerIdRequest(cast("str", transactional_id), _TRANSACTION_TIMEOUT_MS)
        if transactional_id is None:
            answer = await network.ask_any(request)
        else:
            answer = await network.ask(await network.coordinator(TRANSACTION, transactional_id), request)
        if answer.error_code != NO_ERROR:
            raise failure(answer.error_code, f"taking an identity for {transactional_id!r}")
        return Identity(answer.producer_id, answer.producer_epoch)

    return await network.persist(attempt, "taking an identity")
