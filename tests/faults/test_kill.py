"""A process of a service is killed, at every stage of a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestra.testing.kafka_cluster import KafkaCluster
from tests.faults.dying import STAGES
from tests.faults.site import Site, all_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

AT = 12
"""The record, of sixty, that is its process's last."""


async def killed_at(stage: str, cluster: KafkaCluster, folder: Path) -> None:
    async with Site(cluster, folder / stage) as site:
        await site.send_many(60, accounts=20)
        first = await site.begin(die=(stage, 1 if stage == "before-commit" else AT))
        first.dies()
        assert await first.ended(60) == -9, f"{stage}: it did not die\n{first.last_words()}"

        await site.member()

        await site.settled()


async def test_effects_happen_once_wherever_the_process_is_killed(kafka_cluster: KafkaCluster, tmp_path: Path) -> None:
    for group in (STAGES[:4], STAGES[4:]):  # a few at once: each waits for its dead member's session to end
        await all_of(killed_at(stage, kafka_cluster, tmp_path) for stage in group)
