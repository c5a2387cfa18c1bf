"""Does a changed graph find its number taken, and does everybody learn what waits for a version that is not here?"""

from __future__ import annotations

import json
import logging

import pytest

from orchestra.coordinator.record import VERSIONS
from orchestra.coordinator.versions import KEPT_PARTS, Absent, count_by_version, known_of, merged, read_known
from orchestra.errors import DefinitionError
from orchestra.flows.saga import definition_of
from tests.unit.coordinator.harness import NAMES, World, world
from tests.unit.coordinator.tiny_flow import TinyFlow
from tests.unit.flows.shop import FoodOrder
from tests.unit.flows.shop_versions import Altered, FoodOrderV2

pytestmark = pytest.mark.virtual_time

V1, V2 = definition_of(FoodOrder), definition_of(FoodOrderV2)


def stored(*definitions: object) -> dict[str, object]:
    return json.loads(json.dumps(known_of(definitions)))  # type: ignore[no-any-return, arg-type]


def test_a_version_that_is_known_need_not_be_written_again() -> None:
    assert merged(read_known(stored(V1, V2)), known_of([V1])) is None
    assert merged(read_known(stored(V1, V2)), known_of([V2, V1])) is None


def test_a_new_version_is_added_and_none_is_forgotten() -> None:
    both = merged(read_known(stored(V1)), known_of([V2]))

    assert both is not None
    assert set(both) == {"food-order/1", "food-order/2"}


def test_hazard_20_an_altered_version_is_refused_with_what_changed_and_what_to_do() -> None:
    with pytest.raises(DefinitionError) as caught:
        merged(read_known(stored(V1)), known_of([definition_of(Altered)]))

    assert str(caught.value).splitlines() == [
        "flow food-order version 1 has another graph than the version 1 that ran here before:",
        "  ~ assign: needs nothing (before: charge); is read_only (before: pivot)",
        "  ~ reserve: needs assign (before: nothing)",
        "  - charge: compensatable, sends payments.payment.charge.v1, needs reserve",
        "  - (completed): publishes shop.order.confirmed.v1, needs assign",
        "  - (compensated): publishes shop.order.rejected.v1",
        "Instances may be under way on it. Either take the change back; or give the changed flow version 2, and keep "
        "the old class beside it, with version=1, until `orchestra flows list` shows no instance of version 1",
    ]


def test_an_alteration_of_what_was_stored_without_its_parts_is_told_by_its_digest() -> None:
    with pytest.raises(DefinitionError, match=f"the digest of its graph was d1, and is {V1.digest}"):
        merged(read_known({"food-order/1": "d1"}), known_of([V1]))


def test_what_was_stored_without_its_parts_gets_them() -> None:
    whole = merged(read_known({"food-order/1": V1.digest}), known_of([V1]))

    assert whole is not None
    assert set(whole["food-order/1"]["parts"]) >= {"reserve", "charge", "assign"}


def test_of_old_versions_the_digest_alone_is_kept() -> None:
    known = None
    for version in range(1, KEPT_PARTS + 3):
        known = merged(known or {}, known_of([TinyFlow(version=version, digest=f"d{version}")]))

    assert known is not None
    assert known["tiny/1"] == {"digest": "d1"}
    assert known["tiny/2"] == {"digest": "d2"}
    assert "parts" in known["tiny/3"]
    with pytest.raises(DefinitionError, match="was d1, and is other"):
        merged(known, known_of([TinyFlow(version=1, digest="other")]))


def test_instances_are_counted_by_version_and_status() -> None:
    found = [("b/10", "running"), ("b/9", "parked"), ("a", "queued"), ("b/9", "running"), ("b/9", "completed")]

    counts = count_by_version(found)

    assert [(one.flow, one.version, dict(one.counts), one.live) for one in counts] == [
        ("a", None, {"queued": 1}, 1),
        ("b", 9, {"running": 1, "parked": 1, "completed": 1}, 2),
        ("b", 10, {"running": 1}, 1),
    ]


def test_only_what_lives_and_is_not_here_is_missed() -> None:
    absent = Absent()
    counts = count_by_version([("a/1", "running"), ("a/2", "running"), ("b/1", "completed"), ("c", "parked")])

    absent.found(0, counts, [("a", 2)])
    absent.found(1, count_by_version([("a/1", "parked"), ("a/1", "running")]), [("a", 2)])

    told = absent.told()
    assert told is not None
    assert told.startswith(
        "instances are under way on versions that this process does not have: a version 1: 2 running, 1 parked. "
    )
    absent.shards.clear()
    assert absent.told() is None


# ---- in a process


def versions_in(w: World) -> dict[str, object]:
    found = [record.value for record in w.cluster.records(NAMES.state) if record.key == VERSIONS.encode()]
    return json.loads(found[-1] or b"{}") if found else {}


async def test_a_process_says_once_who_waits_for_a_version_that_it_does_not_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "orchestra.coordinator.runtime")
    async with world(partitions=2) as w:
        w.answer = lambda _: None
        old = await w.process(TinyFlow(version=1))
        for key in ("o1", "o2", "o3"):
            await w.place(key)
        await w.until(lambda: w.statuses()["running"] == 3)
        await old.stop()

        await w.process(TinyFlow(version=2))
        await w.until(lambda: bool(caplog.records))
        await w.until(lambda: w.clock.elapsed() > 60.0)

    [said] = [record.getMessage() for record in caplog.records]
    assert "tiny version 1: 3 running" in said
    assert "`orchestra flows list`" in said


async def test_the_log_knows_what_each_version_was_made_of() -> None:
    async with world() as w:
        first = await w.process(TinyFlow(version=1, parts={"a1": {"form": "step"}}))
        await w.until(lambda: len(versions_in(w)) == 1)
        await first.stop()
        await w.process(TinyFlow(version=2, digest="d2"))
        await w.until(lambda: len(versions_in(w)) == 2)

        assert versions_in(w)["tiny/1"] == {"digest": "d1", "parts": {"a1": {"form": "step"}}}
