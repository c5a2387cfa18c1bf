"""Unit tests may ask for virtual time: ``pytestmark = pytest.mark.virtual_time``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from orchestra.testing.virtual_time import VirtualTimeLoop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}
