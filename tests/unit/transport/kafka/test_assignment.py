"""The assignment gate lets nothing pass that is not ours now; the assignor keeps partitions where they were."""

from __future__ import annotations

from typing import Any

from orchestra.transport.kafka.assignment import Gate, SharingAssignor
from orchestra.transport.port import Partition

P0, P1, P2 = (Partition("t", number) for number in range(3))


def opened(*partitions: Partition) -> Gate:
    gate = Gate()
    gate.open(gate.assign(partitions))
    return gate


def test_nothing_passes_before_the_gate_is_opened() -> None:
    gate = Gate()
    epoch = gate.assign([P0])

    assert not gate.is_open
    assert gate.owned == {P0}
    assert gate.open(epoch)


def test_gate_is_not_opened_with_an_epoch_that_is_over() -> None:
    gate = Gate()
    epoch = gate.assign([P0])
    gate.shut()

    assert not gate.open(epoch)


def test_what_is_ours_stays_ours_while_a_revocation_runs() -> None:
    gate = opened(P0)
    gate.shut()

    assert gate.owned == {P0}
    gate.release()
    assert gate.owned == frozenset()


def test_pause_outlives_a_rebalance_only_for_partitions_that_stay() -> None:
    gate = opened(P0, P1)
    gate.paused = {P0, P1}
    gate.shut()
    gate.release()

    gate.assign([P1, P2])
    assert gate.paused == {P1}
    gate.assign([P0, P1])
    assert gate.paused == {P1}


class Cluster:
    """aiokafka's metadata, as far as an assignor needs it."""

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0, 1, 2, 3} if topic == "t" else None


def rebalance(members: dict[str, SharingAssignor]) -> dict[str, list[tuple[str, list[int]]]]:
    metadata = {name: member.metadata({"t"}) for name, member in members.items()}
    leader = next(iter(members.values()))
    shared = leader.assign(Cluster(), metadata)
    for name, member in members.items():
        member.on_assignment(shared[name])
    return {name: list(map(tuple, each.assignment)) for name, each in shared.items()}


def test_assignor_leaves_partitions_where_they_were() -> None:
    a, b, c = SharingAssignor(), SharingAssignor(), SharingAssignor()

    assert rebalance({"a": a}) == {"a": [("t", [0, 1, 2, 3])]}
    assert rebalance({"b": b, "a": a}) == {"a": [("t", [0, 1])], "b": [("t", [2, 3])]}
    assert rebalance({"c": c, "b": b}) == {"b": [("t", [2, 3])], "c": [("t", [0, 1])]}


def test_member_that_missed_a_rebalance_keeps_nothing_that_another_has() -> None:
    stale, fresh = SharingAssignor(), SharingAssignor()
    rebalance({"stale": stale})
    rebalance({"fresh": fresh})
    rebalance({"fresh": fresh})

    shared = rebalance({"stale": stale, "fresh": fresh})

    assert shared == {"fresh": [("t", [0, 1])], "stale": [("t", [2, 3])]}


def test_notes_of_other_clients_are_passed_over() -> None:
    member = SharingAssignor()
    metadata: Any = member.metadata({"t"})
    metadata.user_data = b"\x00not json"

    shared = member.assign(Cluster(), {"a": metadata})

    assert list(map(tuple, shared["a"].assignment)) == [("t", [0, 1, 2, 3])]


def test_topic_without_metadata_has_no_partitions() -> None:
    member = SharingAssignor()

    shared = member.assign(Cluster(), {"a": member.metadata({"missing"})})

    assert shared["a"].assignment == []


def test_the_members_say_which_topics_belong_together() -> None:
    class Two:
        def partitions_for_topic(self, topic: str) -> set[int] | None:
            return {0, 1, 2, 3}

    a, b = SharingAssignor({"t", "r"}), SharingAssignor()
    metadata = {"a": a.metadata({"t", "r"}), "b": b.metadata({"t", "r"})}

    shared = b.assign(Two(), metadata)

    for each in shared.values():
        owned = dict(each.assignment)
        assert owned["t"] == owned["r"]
        assert len(owned["t"]) == 2
