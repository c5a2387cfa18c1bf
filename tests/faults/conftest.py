from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("tests.faults.site")

from orchestra.testing.kafka_cluster import KafkaCluster  # noqa: E402
from tests.faults.together import Ensemble  # noqa: E402


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ensemble(
    kafka_cluster: KafkaCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Ensemble]:
    """The tests of this module that were chosen and are marked ``@together()``, all started."""
    ensemble = Ensemble(kafka_cluster, tmp_path_factory.mktemp("together"))
    for item in request.session.items:
        test = getattr(item, "obj", None)
        if getattr(item, "module", None) is request.module and hasattr(test, "scene"):
            ensemble.start(test.scene, test.times)
    yield ensemble
    await ensemble.aclose()
