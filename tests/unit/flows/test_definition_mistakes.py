"""What types cannot say is an error when the class is made: it names class, step and remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Never

import pytest

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, Key, Undo
from orchestra.flows.failure import Failure
from orchestra.flows.graph import GraphNode, in_order
from orchestra.flows.saga import Flow, Saga, definition_of, on_compensated, on_completed, pivot, starts_on, step
from orchestra.retry import Retry
from tests.unit.flows.shop import FoodOrder


class Began(Event, type="test.began.v1", topic="tests"):
    id: Key[str]


class Keyless(Event, type="test.keyless.v1", topic="tests"):
    id: str


class Homeless(Event, type="test.homeless.v1"):
    id: Key[str]


class Do(Command[Done, Never], type="test.do.v1", topic="test.commands"):
    id: Key[str]


class Unsay(Command[Done, Never], type="test.unsay.v1", topic="other.commands"):
    id: Key[str]


class Undone(Command[Done, Never], type="test.undone.v1", topic="test.commands"):
    id: Key[str]


class Redo(Command[Done, Never], type="test.do.v1", topic="test.commands"):
    """Another class of Do's type."""

    id: Key[str]


def refused(make: Callable[[], object], *words: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        make()
    for word in words:
        assert word in str(raised.value)


def test_a_step_of_a_saga_says_how_it_is_undone_or_that_it_need_not_be() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.first", "@first.undo", "undo=Undo", "read_only", "retriable", "@pivot")


def test_a_flow_that_is_no_saga_needs_no_undo() -> None:
    class Good(Flow, name="good"):
        began = starts_on(Began)

        @step
        def first(self) -> Do:
            return Do(id="1")

    assert definition_of(Good).topics == ["test.commands"]


def test_a_flow_needs_a_name() -> None:
    def make() -> None:
        class HugeOrder(Saga):
            began = starts_on(Began)

    refused(make, "HugeOrder", "needs a name", "name='huge-order'")


@pytest.mark.parametrize("name", ["", "Bad", "a/b", "ä", "a b", 3, "x" * 101, "-a"])
def test_a_name_is_lower_case_words(name: Any) -> None:
    def make() -> None:
        class Bad(Flow, name=name):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad", "lower-case")


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_a_version_is_a_whole_number_from_one(version: Any) -> None:
    def make() -> None:
        class Bad(Flow, name="bad", version=version):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad", "version", "whole number")


def test_a_flow_has_something_that_starts_it() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            @step
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad", "starts_on(")


def test_a_flow_has_one_line_that_starts_it() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)
            other = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "began and other", "starts_on(A, B)")


def test_a_flow_has_a_step() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

    refused(make, "Bad", "@step")


@pytest.mark.parametrize(
    ("event", "words"),
    [(Keyless, "Key[str]"), (Homeless, "topic"), (Do, "Event"), (int, "Event"), ("Began", "Event")],
)
def test_a_start_event_has_a_key_and_a_topic(event: Any, words: str) -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(event)

            @step
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.began", words)


@pytest.mark.parametrize("arguments", [0, 2])
def test_a_method_takes_as_many_arguments_as_it_names_nodes(arguments: int) -> None:
    def none(self: Any) -> Do: ...
    def two(self: Any, a: Done, b: Done) -> Do: ...

    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            second = step(first)(two if arguments else none)  # type: ignore[arg-type]

    refused(make, "Bad.second" if False else "second", "given self and first")


def test_a_node_of_another_flow_is_refused() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step(FoodOrder.reserve)
            def first(self, reserved: Any) -> Do:
                return Do(id="1")

    refused(make, "Bad.first", "'reserve'", "no node of this flow")


def test_a_node_that_was_replaced_is_refused() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @step(first)
            def second(self, done: Done) -> Do:
                return Do(id="1")

            @step  # type: ignore[no-redef]
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.second", "'first'", "replaced")


@pytest.mark.parametrize("given", ["first", None, 7, Do])
def test_only_nodes_are_needed(given: Any) -> None:
    refused(lambda: step(given, given), "@step(...)", "declared above")
    refused(lambda: step(after=[given]), "@step(...)")
    refused(lambda: pivot(given, timeout="1s"), "@pivot(...)")
    refused(lambda: on_completed(given, given), "@on_completed(...)")


def test_a_step_is_needed_once() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @step(first, first)
            def second(self, a: Done, b: Done) -> Do:
                return Do(id="1")

    refused(make, "Bad.second", "once")


def test_a_step_has_one_name() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            second = first

    refused(make, "Bad.first", "second name")


@pytest.mark.parametrize("name", ["now", "completed", "compensated", "_first", "undo"])
def test_reserved_names_are_refused(name: str) -> None:
    def first(self: Any) -> Do: ...

    refused(
        lambda: type(Flow)("Bad", (Flow,), {"began": starts_on(Began), name: step(first)}, name="bad"),
        f"Bad.{name}",
        "rename it",
    )


def test_methods_are_not_async() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step  # type: ignore[arg-type]
            async def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.first", "plain functions", "handler")


def test_a_method_says_what_it_returns() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self):  # type: ignore[no-untyped-def]
                return Do(id="1")

    refused(make, "Bad.first", "add ->")


@pytest.mark.parametrize("returned", [Began, int, Command, "list[Do]", None, Do | None, Do | Undone, "Nowhere"])
def test_a_step_returns_one_command(returned: Any) -> None:
    def first(self: Any) -> Any: ...

    first.__annotations__["return"] = returned
    refused(
        lambda: type(Flow)("Bad", (Flow,), {"began": starts_on(Began), "first": step(first)}, name="bad"), "Bad.first"
    )


def test_annotations_that_cannot_be_read_name_the_remedy() -> None:
    def first(self: Any) -> Any: ...

    first.__annotations__["return"] = "Nowhere"
    refused(
        lambda: type(Flow)("Bad", (Flow,), {"began": starts_on(Began), "first": step(first)}, name="bad"),
        "'Nowhere'",
        "TYPE_CHECKING",
    )


@pytest.mark.parametrize("duration", ["soon", "0s", timedelta(0), "-1s", 5])
def test_a_timeout_is_a_duration(duration: Any) -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step(timeout=duration)
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.first", "timeout")


def test_the_timeout_of_an_undo_is_a_duration() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @first.undo(timeout="soon")
            def unfirst(self, done: Done | None) -> Undone:
                return Undone(id="1")

    refused(make, "Bad.first", "timeout")


def test_a_kind_is_known() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step(kind="compensatable")  # type: ignore[call-overload]
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.first", "kind='compensatable'", "use undo")


def test_undo_takes_the_built_in_undo() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step(undo=Undone)  # type: ignore[call-overload]
            def first(self) -> Do:
                return Do(id="1")

    refused(make, "Bad.first", "undo=Undo")


def test_a_step_is_undone_in_one_way() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step(undo=Undo)
            def first(self) -> Do:
                return Do(id="1")

            @first.undo
            def unfirst(self, done: Done | None) -> Undone:
                return Undone(id="1")

    refused(make, "Bad.first", "two ways")


def test_an_undo_goes_to_the_topic_of_its_action() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @first.undo
            def unsay(self, done: Done | None) -> Unsay:
                return Unsay(id="1")

    refused(make, "Bad.first.undo (unsay)", "'other.commands'", "'test.commands'", "same topic")


def test_an_undo_is_another_command_than_its_action() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @first.undo
            def again(self, done: Done | None) -> Do:
                return Do(id="1")

    refused(make, "Bad.first.undo (again)", "Do", "action itself")


def test_an_undo_takes_the_reply_or_none() -> None:
    def make() -> None:
        class Bad(Saga, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @first.undo  # type: ignore[arg-type]
            def unfirst(self) -> Undone:
                return Undone(id="1")

    refused(make, "Bad.first.undo (unfirst)", "the reply or None")


def test_two_message_classes_of_one_type_are_refused() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @step
            def second(self) -> Redo:
                return Redo(id="1")

    refused(make, "Bad", "test.do.v1", "Do", "Redo")


# ---- kinds


def undoable(make: Any) -> Any:
    declared = step(undo=Undo)
    return declared(make)


def do(self: Any, *given: Any) -> Do:
    return Do(id="1")


def saga(**members: Any) -> Callable[[], object]:
    return lambda: type(Flow)("Bad", (Saga,), {"began": starts_on(Began), **members}, name="bad")


def test_a_pivot_and_a_retriable_step_are_never_undone() -> None:
    for kind in ("retriable", "read_only"):
        refused(saga(first=step(kind=kind, undo=Undo)(do)), "Bad.first", kind, "never undone")  # type: ignore[call-overload]
    point = pivot(do)
    point.undo(lambda self, done: Undone(id="1"))
    refused(saga(first=point), "Bad.first")


def test_a_compensatable_step_after_the_pivot_is_refused() -> None:
    first = pivot(do)
    refused(saga(first=first, second=step(after=first, undo=Undo)(do)), "Bad.second", "after 'first'", "'retriable'")


def test_a_read_only_step_after_the_pivot_is_refused() -> None:
    first = pivot(do)
    refused(saga(first=first, second=step(after=first, kind="read_only")(do)), "Bad.second", "after 'first'")


def test_a_step_that_may_fail_beside_the_pivot_is_refused() -> None:
    first = pivot(do)
    refused(saga(first=first, second=step(undo=Undo)(do)), "Bad.second", "beside 'first'", "after=second")


@pytest.mark.parametrize("beside", [True, False])
def test_two_pivots_are_refused(beside: bool) -> None:
    first = pivot(do)
    second = pivot(do) if beside else pivot(after=first)(do)
    refused(saga(first=first, second=second), "Bad.", "one point of no return")


def test_a_retriable_step_before_or_beside_the_pivot_is_refused() -> None:
    first = step(kind="retriable")(do)
    refused(saga(first=first, second=pivot(after=first)(do)), "Bad.", "'first'")
    refused(saga(first=step(kind="retriable")(do), second=pivot(do)), "Bad.first", "after=second")


def test_a_step_that_may_fail_after_a_retriable_one_is_refused() -> None:
    first = step(kind="retriable")(do)
    refused(saga(first=first, second=step(after=first, undo=Undo)(do)), "Bad.second", "after 'first'")


def test_retriable_steps_may_follow_the_pivot_in_any_shape() -> None:
    first = step(undo=Undo)(do)
    point = pivot(after=first)(do)
    second = step(after=point, kind="retriable")(do)
    third = step(after=point, kind="retriable")(do)
    saga(first=first, point=point, second=second, third=third, last=step(after=[second, third], kind="retriable")(do))()


def test_a_saga_without_pivot_may_end_with_retriable_steps() -> None:
    first = step(undo=Undo)(do)
    saga(first=first, second=step(after=first, kind="retriable")(do))()


# ---- endings


def test_an_ending_needs_a_node_of_the_flow() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @on_completed(FoodOrder.assign)
            def over(self, assigned: Any) -> Began:
                return Began(id="1")

    refused(make, "Bad.over", "'assign'")


def test_an_ending_takes_what_it_names() -> None:
    def make() -> None:
        class Bad(Flow, name="bad"):
            began = starts_on(Began)

            @step
            def first(self) -> Do:
                return Do(id="1")

            @on_completed(first)  # type: ignore[arg-type]
            def over(self) -> Began:
                return Began(id="1")

    refused(make, "Bad.over", "given self and first")


def test_there_is_one_ending_of_a_kind() -> None:
    def over(self: Any) -> Began: ...

    refused(saga(first=step(undo=Undo)(do), a=on_completed(over), b=on_completed(over)), "Bad", "a and b", "list")


@pytest.mark.parametrize("returned", [Homeless, Do, int, "Nowhere"])
def test_an_ending_returns_events_that_have_a_topic(returned: Any) -> None:
    def over(self: Any, failure: Failure) -> Any: ...

    over.__annotations__["return"] = returned
    refused(saga(first=step(undo=Undo)(do), over=on_compensated(over)), "Bad.over")


@pytest.mark.parametrize("returned", [Began, Began | None, list[Began], "tuple[Began, ...] | None", None])
def test_an_ending_may_return_one_event_several_or_none(returned: Any) -> None:
    def over(self: Any) -> Any: ...

    over.__annotations__["return"] = returned
    saga(first=step(undo=Undo)(do), over=on_completed(over))()


# ---- graphs that did not come from a class


def test_nodes_that_wait_for_each_other_are_refused() -> None:
    nodes = [GraphNode(name="a", needs=("b",)), GraphNode(name="b", after=("a",)), GraphNode(name="c")]
    refused(lambda: in_order("Bad", nodes), "a, b wait for each other")


def test_unknown_and_doubled_names_are_refused() -> None:
    refused(lambda: in_order("Bad", [GraphNode(name="a", needs=("b",))]), "Bad.a", "'b'", "has not")
    refused(lambda: in_order("Bad", [GraphNode(name="a"), GraphNode(name="a")]), "Bad.a", "twice")


def test_nodes_may_be_declared_in_any_order() -> None:
    nodes = [GraphNode(name="c", needs=("b",)), GraphNode(name="a"), GraphNode(name="b", after=("a",))]
    assert list(in_order("Good", nodes)) == ["a", "b", "c"]


@pytest.mark.parametrize("what", [int, Flow, Saga, "FoodOrder", None])
def test_only_a_flows_class_has_a_definition(what: Any) -> None:
    refused(lambda: definition_of(what), "no flow")


def test_a_bad_retry_is_refused() -> None:
    refused(lambda: Retry(attempts=0), "attempts=0")


def test_a_step_has_no_retry_topics() -> None:
    first = step(retry=Retry(later=("5s",)), undo=Undo)(do)
    refused(saga(first=first), "Bad.first", "for handlers")
