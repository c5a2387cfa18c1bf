"""One step for each of many items: a bound on what is under way, results in order, a part of it undone."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from orchestra.errors import DefinitionError
from orchestra.events.envelope import compose
from orchestra.events.message import Command, Event, Key, Message, StepRefused
from orchestra.flows.decision import Decision, OperatorRequest, Outcome, Status, TimerFired
from orchestra.flows.declare_loop import for_each
from orchestra.flows.for_each_items import MOST_ITEMS, forget_items
from orchestra.flows.saga import Flow, Saga, starts_on, step
from tests.unit.flows.packing import (
    Broken,
    Inventory,
    Ordered,
    Packed,
    PackLine,
    Reserved,
    Shipment,
    Tolerant,
    Unpacked,
    UnpackLine,
)
from tests.unit.flows.play import Play

Phase = Literal["action", "undo"]


def begun(*skus: str) -> Play:
    """A shipment whose items are under way, at most two at once."""
    play = Play(Shipment, Ordered(id="A", skus=list(skus)))
    play.answer("reserve", Reserved(id="A", shelf=7))
    return play


def answer(play: Play, step: str, number: int, message: Message, phase: Phase = "action") -> Decision:
    """An outcome of the newest try of an item."""
    effect = f"{play.id}/{play.run}/{step}/{phase}/{number}"
    command = next(one for one in reversed(play.sent) if one.event.get("effectid") == effect).event
    extensions: dict[str, Any] = {"effectid": effect, "causationid": command.id}
    event = compose(message, id=f"r-{len(play.journal)}", source="/s", time=play.now, extensions=extensions)
    return play.give(Outcome(effect, event))


def pack(play: Play, number: int, box: int | None = None) -> Decision:
    return answer(play, "pack", number, Packed(sku="s", box=number if box is None else box))


def sent(play: Play) -> list[str]:
    """Step, phase and number of what the last decision sent."""
    effects = [one.event.get("effectid") for one in play.last.messages if one.kind == "command"]
    return ["/".join(effect.split("/")[-3:]) for effect in effects if effect]


def node(play: Play, name: str = "pack") -> dict[str, Any]:
    nodes: Any = play.last.state["nodes"]
    return dict(nodes[name])


def fire(play: Play, name: str) -> Decision:
    timer = next(one for one in play.last.timers if one.name == name)
    play.now = max(play.now, timer.due or play.now)
    return play.give(TimerFired(timer.name, timer.generation))


def test_at_most_limit_items_are_under_way() -> None:
    play = begun("a", "b", "c", "d")

    assert sent(play) == ["pack/action/0", "pack/action/1"]
    pack(play, 1)
    assert sent(play) == ["pack/action/2"]
    assert sorted(node(play)["l"]) == ["0", "2"]


def test_the_method_gets_the_item_and_what_the_nodes_yield() -> None:
    play = begun("a", "b")

    assert [json.loads(one.event.data or b"") for one in play.last.messages] == [
        {"id": "A", "sku": "a", "shelf": 7},
        {"id": "A", "sku": "b", "shelf": 7},
    ]


def test_replies_are_yielded_in_the_order_of_the_items() -> None:
    play = begun("a", "b", "c")

    pack(play, 1, box=11)
    pack(play, 2, box=12)
    pack(play, 0, box=10)

    assert play.status is Status.COMPLETED
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == [10, 11, 12]


def test_no_items_are_done_at_once() -> None:
    play = begun()

    assert play.status is Status.COMPLETED
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == []


def test_hazard_29_the_record_of_a_for_each_holds_what_is_under_way_and_values_hold_the_rest() -> None:
    play = begun(*(f"sku-{number}" for number in range(300)))
    sizes = []

    for number in range(299):
        pack(play, number)
        sizes.append(len(json.dumps(node(play))))

    assert len([name for name in play.values if name.startswith("pack/")]) == 299
    assert max(sizes) < 500
    assert len(json.dumps(node(play))) < 500


def test_hazard_01_a_duplicate_outcome_of_an_item_changes_nothing() -> None:
    play = begun("a", "b", "c")
    pack(play, 0)

    pack(play, 0, box=99)

    assert play.whats() == ["input.ignored"]
    pack(play, 1)
    pack(play, 2)
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == [0, 1, 2]


def test_hazard_03_the_join_of_items_happens_once() -> None:
    play = begun("a", "b")
    pack(play, 0)
    assert play.status is Status.RUNNING
    pack(play, 1)
    completed = [one for one in play.sent if one.kind == "event"]

    pack(play, 1)

    assert [one for one in play.sent if one.kind == "event"] == completed
    assert len(completed) == 1


def test_hazard_29_a_large_start_event_stands_beside_the_record() -> None:
    skus = [f"sku-{number}" for number in range(9000)]
    play = begun(*skus)

    assert sorted(play.values) == ["start/0", "start/1"]
    assert len(json.dumps(play.last.state)) < 2000
    pack(play, 0)
    assert json.loads(play.last.messages[-1].event.data or b"")["sku"] == "sku-2"
    assert play.definition.start_event(play.last.state, values=play.values.__getitem__).data == play.event.data


# ---- failing


def test_hazard_12_after_a_failed_item_no_more_begin_and_those_under_way_are_awaited() -> None:
    play = begun("a", "b", "c", "d")

    answer(play, "pack", 0, Broken(sku="a"))

    assert sent(play) == []
    assert play.status is Status.RUNNING
    pack(play, 1)
    assert play.status is Status.COMPENSATING
    assert sent(play) == ["pack/undo/1"]


def test_what_is_done_is_undone_newest_first_within_the_limit() -> None:
    play = begun("a", "b", "c", "d", "e")
    for number in range(3):
        pack(play, number)
    answer(play, "pack", 3, Broken(sku="d"))
    pack(play, 4)

    assert sent(play) == ["pack/undo/4", "pack/undo/2"]
    answer(play, "pack", 4, Unpacked(sku="e"), "undo")
    assert sent(play) == ["pack/undo/1"]
    answer(play, "pack", 2, Unpacked(sku="c"), "undo")
    assert sent(play) == ["pack/undo/0"]
    answer(play, "pack", 1, Unpacked(sku="b"), "undo")
    assert sent(play) == []
    answer(play, "pack", 0, Unpacked(sku="a"), "undo")
    assert sent(play) == ["reserve/undo/0"]
    play.undone("reserve", Reserved(id="A", shelf=7))
    assert play.status is Status.COMPENSATED
    assert json.loads(play.last.messages[-1].event.data or b"")["reason"] == "item 3: rejected: Broken"


def test_the_undo_of_an_item_gets_the_item_and_its_reply() -> None:
    play = begun("a", "b")
    pack(play, 0, box=42)
    answer(play, "pack", 1, Broken(sku="b"))

    assert json.loads(play.last.messages[0].event.data or b"") == {"id": "A", "sku": "a", "box": 42}


def test_values_of_items_that_are_undone_are_removed() -> None:
    play = begun("a", "b")
    pack(play, 0)
    answer(play, "pack", 1, Broken(sku="b"))
    assert sorted(play.values) == ["pack/0", "pack/1"]

    answer(play, "pack", 0, Unpacked(sku="a"), "undo")

    assert sorted(play.values) == ["pack/1"]


def test_an_item_of_which_nobody_knows_is_undone_too() -> None:
    play = begun("a", "b")
    fire(play, "pack/action/0")
    fire(play, "pack/action/0")
    assert sent(play) == ["pack/action/0"]
    fire(play, "pack/action/0")
    assert play.status is Status.RUNNING

    pack(play, 1)

    assert sent(play) == ["pack/undo/1", "pack/undo/0"]
    assert json.loads(play.last.messages[1].event.data or b"")["box"] is None


def test_an_item_that_waits_for_its_next_try_is_not_tried_again_once_another_failed() -> None:
    play = begun("a", "b")
    fire(play, "pack/action/0")

    answer(play, "pack", 1, Broken(sku="b"))

    assert play.status is Status.COMPENSATING
    assert sent(play) == ["pack/undo/0"]


def test_hazard_10_a_late_reply_of_an_unknown_item_reaches_its_undo() -> None:
    play = begun("a", "b")
    fire(play, "pack/action/0")
    fire(play, "pack/action/0")
    fire(play, "pack/action/0")
    pack(play, 0, box=5)

    pack(play, 1)

    assert play.status is Status.COMPENSATING
    assert sent(play) == ["pack/undo/1", "pack/undo/0"]
    assert json.loads(play.last.messages[1].event.data or b"")["box"] == 5


def test_hazard_10_a_rejected_item_that_is_done_after_all_is_undone() -> None:
    play = begun("a", "b")
    answer(play, "pack", 0, Broken(sku="a"))
    answer(play, "pack", 1, Broken(sku="b"))
    assert sent(play) == ["reserve/undo/0"]

    pack(play, 0, box=5)

    assert "outcome.contradiction" in play.codes()
    assert sent(play) == ["pack/undo/0"]
    answer(play, "pack", 0, Unpacked(sku="a"), "undo")
    play.undone("reserve", Reserved(id="A", shelf=7))
    assert play.status is Status.COMPENSATED


def test_an_item_that_was_refused_is_begun_anew_under_another_number() -> None:
    play = begun("a", "b", "c")
    answer(play, "pack", 0, StepRefused(reason="expired"))

    fire(play, "pack/action/0")

    assert sent(play) == ["pack/action/3"]  # the index, and the number of items
    answer(play, "pack", 3, Packed(sku="a", box=9))
    pack(play, 1)
    pack(play, 2)
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == [9, 1, 2]


def test_a_flow_that_is_cancelled_awaits_what_is_under_way_and_undoes_what_is_done() -> None:
    play = begun("a", "b", "c", "d")
    pack(play, 0)

    play.operate("cancel")

    assert sent(play) == []
    pack(play, 1)
    assert sent(play) == []
    pack(play, 2)
    assert sent(play) == ["pack/undo/2", "pack/undo/1"]


# ---- some may fail


def test_an_item_that_may_fail_leaves_its_failure_in_its_place() -> None:
    play = Play(Tolerant, Ordered(id="A", skus=["a", "b", "c"]))

    answer(play, "pack", 1, Broken(sku="b"))

    assert sent(play) == ["pack/action/2"]
    pack(play, 0)
    pack(play, 2)
    assert play.status is Status.COMPLETED
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == [0, -1, 2]


def test_one_more_than_may_fail_fails_the_step() -> None:
    play = Play(Tolerant, Ordered(id="A", skus=["a", "b", "c"]))
    answer(play, "pack", 0, Broken(sku="a"))

    answer(play, "pack", 1, Broken(sku="b"))

    pack(play, 2)
    assert sent(play) == ["pack/undo/2"]
    answer(play, "pack", 2, Unpacked(sku="c"), "undo")
    assert play.status is Status.COMPENSATED


def test_of_an_item_that_may_fail_what_may_be_done_is_undone_by_itself() -> None:
    play = Play(Tolerant, Ordered(id="A", skus=["a", "b", "c"]))

    fire(play, "pack/action/0")

    assert sent(play) == ["pack/undo/0"]
    pack(play, 1)
    pack(play, 2)
    assert play.status is Status.RUNNING
    answer(play, "pack", 0, Unpacked(sku="a"), "undo")
    assert play.status is Status.COMPLETED
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == [-1, 1, 2]


def test_what_was_undone_by_itself_is_not_undone_again() -> None:
    play = Play(Tolerant, Ordered(id="A", skus=["a", "b", "c"]))
    fire(play, "pack/action/0")
    answer(play, "pack", 0, Unpacked(sku="a"), "undo")
    pack(play, 1)

    answer(play, "pack", 2, Broken(sku="c"))

    assert sent(play) == ["pack/undo/1"]
    answer(play, "pack", 1, Unpacked(sku="b"), "undo")
    assert play.status is Status.COMPENSATED


# ---- operators


def test_an_undo_that_is_stuck_is_left_to_an_operator_and_the_others_go_on() -> None:
    play = begun("a", "b", "c", "d")
    for number in range(3):
        pack(play, number)
    answer(play, "pack", 3, Broken(sku="d"))
    for _ in range(10):
        fire(play, "pack/undo/2")
        if any(one.name == "pack/undo/2" for one in play.last.timers):
            fire(play, "pack/undo/2")
    assert "compensation.stuck" in play.codes()
    answer(play, "pack", 1, Unpacked(sku="b"), "undo")
    answer(play, "pack", 0, Unpacked(sku="a"), "undo")
    assert play.status is Status.STUCK

    play.operate("skip", "pack/2")

    assert sent(play) == ["reserve/undo/0"]
    assert play.status is Status.COMPENSATING


def test_a_flow_that_halts_goes_on_where_an_operator_retries_the_item() -> None:
    play = Play(Inventory, Ordered(id="A", skus=["a", "b", "c"]))
    answer(play, "count", 0, Broken(sku="a"))
    answer(play, "count", 1, Packed(sku="b", box=1))
    assert play.status is Status.HALTED

    play.operate("retry", "count/0")

    assert play.status is Status.RUNNING
    assert sent(play) == ["count/action/3", "count/action/2"]
    answer(play, "count", 3, Packed(sku="a", box=10))
    answer(play, "count", 2, Packed(sku="c", box=2))
    assert play.status is Status.COMPLETED
    assert json.loads(play.last.messages[-1].event.data or b"")["boxes"] == [10, 1, 2]


def test_a_retry_without_a_step_retries_all_items_that_failed() -> None:
    play = Play(Inventory, Ordered(id="A", skus=["a", "b"]))
    answer(play, "count", 0, Broken(sku="a"))
    answer(play, "count", 1, Broken(sku="b"))

    play.operate("retry")

    assert sent(play) == ["count/action/2", "count/action/3"]


def test_an_item_that_is_done_after_all_lets_a_halted_flow_go_on() -> None:
    play = Play(Inventory, Ordered(id="A", skus=["a", "b", "c"]))
    fire(play, "count/action/0")
    answer(play, "count", 1, Packed(sku="b", box=1))
    assert play.status is Status.HALTED

    answer(play, "count", 0, Packed(sku="a", box=8))

    assert play.status is Status.RUNNING
    assert sent(play) == ["count/action/2"]


def test_what_an_operator_asks_of_an_item_that_does_not_wait_is_refused() -> None:
    play = begun("a", "b")

    play.give(OperatorRequest("skip", by="ann", reason="because", step="pack/1"))
    play.give(OperatorRequest("retry", by="ann", reason="because", step="pack/77"))

    assert [line.what for line in play.journal[-2:]] == ["operator.refused", "operator.refused"]
    assert "item 77 has not begun" in play.journal[-1].note


def test_people_see_how_far_it_is() -> None:
    play = begun("a", "b", "c")
    pack(play, 0)

    views = {view.name: view for view in play.definition.steps(play.last.state)}

    assert views["pack"].note == "1 of 3 items are over"
    assert "pack/1" in views
    assert any("item 2 of pack" in line for line in play.definition.waits_for(play.last.state))


# ---- mistakes


class Fickle(Flow, name="fickle", version=1):
    order = starts_on(Ordered)
    made = 0

    def skus(self) -> list[str]:
        Fickle.made += 1
        return [f"{sku}-{Fickle.made}" for sku in self.order.skus]

    @for_each(over=skus, limit=1)
    def count(self, sku: str) -> PackLine:
        return PackLine(id=self.order.id, sku=sku, shelf=0)


def test_items_that_change_between_calls_are_refused() -> None:
    play = Play(Fickle, Ordered(id="A", skus=["a", "b"]))
    forget_items()  # as in another process

    with pytest.raises(DefinitionError, match=r"Fickle\.count, over=skus: it gives other items than when the step"):
        answer(play, "count", 0, Packed(sku="a"))


class Endless(Flow, name="endless", version=1):
    order = starts_on(Ordered)

    def numbers(self) -> range:
        return range(MOST_ITEMS + 1)

    @for_each(over=numbers, limit=1)
    def count(self, number: int) -> PackLine:
        return PackLine(id=self.order.id, sku=str(number), shelf=0)


def test_the_number_of_items_has_a_bound() -> None:
    with pytest.raises(DefinitionError, match="it gives 100001 items, and one step takes at most 100000"):
        Play(Endless, Ordered(id="A", skus=[]))


@pytest.mark.parametrize("limit", [0, 1001])
def test_the_limit_is_from_1_to_1000(limit: int) -> None:
    with pytest.raises(DefinitionError, match=f"limit={limit}: from 1 to 1000 items"):

        class Wrong(Flow, name="wrong", version=1):
            order = starts_on(Ordered)

            def skus(self) -> list[str]:
                return []

            @for_each(over=skus, limit=limit)
            def count(self, sku: str) -> PackLine:
                return PackLine(id=self.order.id, sku=sku, shelf=0)


def test_a_method_that_does_not_take_the_item_is_refused() -> None:
    with pytest.raises(DefinitionError, match="given self and the item"):

        class Wrong(Flow, name="wrong", version=1):
            order = starts_on(Ordered)

            def skus(self) -> list[str]:
                return []

            @for_each(over=skus)  # type: ignore[arg-type]
            def count(self) -> PackLine:
                return PackLine(id=self.order.id, sku="", shelf=0)


class Described(Event, type="packing.described.v1"):
    text: str


class Describe(Command[Described, Broken], type="packing.describe.v1", topic="packing.commands"):
    id: Key[str]
    before: int


class Telling(Saga, name="telling", version=1):
    order = starts_on(Ordered)

    @step
    def first(self) -> Describe:
        return Describe(id=self.order.id, before=0)

    @first.undo
    def untell(self, described: Described | None) -> UnpackLine:
        return UnpackLine(id=self.order.id, sku="", box=described and len(described.text))

    @step(first, kind="read_only")
    def second(self, described: Described) -> Describe:
        return Describe(id=self.order.id, before=len(described.text))


def test_hazard_29_a_large_reply_stands_beside_the_record_and_is_read_from_there() -> None:
    play = Play(Telling, Ordered(id="A", skus=[]))

    play.answer("first", Described(text="x" * 60_000))

    assert sorted(play.values) == ["first/0/done/0", "first/0/done/1"]
    assert json.loads(play.last.messages[0].event.data or b"")["before"] == 60_000
    assert len(json.dumps(play.last.state)) < 1500
    play.answer("second", Broken(sku="x"))
    assert json.loads(play.last.messages[0].event.data or b"")["box"] == 60_000
