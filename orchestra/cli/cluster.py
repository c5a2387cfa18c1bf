"""How does a command that looks at a cluster reach it?"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestra.settings import Settings
    from orchestra.transport.port import Transport


def settings_from_environment() -> Settings:
    """The settings that this process's environment asks for. Raises SettingsError."""
    from orchestra.settings import Settings

    return Settings.from_environment(os.environ)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[Transport]:
    """A started Kafka transport, closed at the end. Raises UnreachableError, AccessDeniedError, SettingsError."""
    from orchestra.transport.kafka.transport import KafkaTransport

    # What the client logs on its own account is for logs; where there are none, it would be printed into the answer.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    transport = KafkaTransport(settings)
    try:
        await transport.start()
        yield transport
    finally:
        await transport.aclose()
