"""How does the class of a state machine become a chart? Every mistake that types cannot show is an error here, at
import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from orchestra.errors import DefinitionError
from orchestra.events.message import Event, spec_of
from orchestra.flows.compile import flow_name, members_of, start_of, version_of
from orchestra.flows.machine.chart import Chart, ChartState, Transition, trigger_of
from orchestra.flows.machine.compile_doing import DoingCompiler, name_of
from orchestra.flows.machine.rules import check_chart
from orchestra.flows.machine.state import (
    Begin,
    Data,
    Declared,
    Part,
    Question,
    Sending,
    State,
    Unexpected,
)
from orchestra.flows.method import check_method, says
from orchestra.flows.place import Place

RESERVED = frozenset({"now", "data", "start", "started", "completed", "compensated", "undo", "cancel"})


def compile_machine(cls: type, data: object, *, name: object, version: object, unexpected: object) -> Chart:
    """The chart of a machine's class.

    Raises:
        DefinitionError: the class cannot work; the text names class, member and remedy.
    """
    label = cls.__name__
    members = members_of(cls)
    named, start = flow_name(label, name), start_of(label, members)
    compiler = _Compiler(label, members, _data(label, data))
    states = compiler.states()
    compiler.check_keys()
    chart = Chart(
        name=named,
        version=version_of(label, version),
        label=label,
        owner=cls,
        data=compiler.data,
        begin=compiler.begin(),
        starts={spec_of(event).type: event for event in start.events},
        states=states,
        events=compiler.events,
        keys=compiler.keys,
        unexpected=_policy(label, unexpected),
    )
    check_chart(chart)
    compiler.close()
    return chart


def _data(label: str, data: object) -> type[Data]:
    if not (isinstance(data, type) and issubclass(data, Data)):
        raise DefinitionError(
            f"{label}: it does not say what it remembers; write class {label}(StateMachine[{label}Data], ...), with "
            f"class {label}Data(Data)"
        )
    return data


def _policy(label: str, unexpected: object) -> Unexpected:
    for policy in get_args(Unexpected):
        if unexpected == policy:
            return policy  # type: ignore[no-any-return]
    raise DefinitionError(f"{label}: unexpected={unexpected!r}: write 'ignore', 'defer' or 'reject'")


class _Compiler:
    """Reads one class."""

    def __init__(self, label: str, members: Mapping[str, object], data: type[Data]) -> None:
        self.label = label
        self.data = data
        self.events: dict[str, type[Event]] = {}
        self.keys: dict[str, str] = {}
        self.members_of = members
        self._doing = DoingCompiler(label, members, data)
        self._states = [one for one in members.values() if isinstance(one, State)]
        for name, one in members.items():
            if isinstance(one, (State, Part)):
                self._check_name(name, one.label)
        if not self._states:
            raise DefinitionError(f"{label}: a machine without states does nothing; add: waiting = state(initial=True)")

    def _check_name(self, name: str, label: str) -> None:
        if name in RESERVED or name.startswith("_"):
            taken = ", ".join(sorted(RESERVED))
            raise DefinitionError(
                f"{self.label}.{name}: this name is orchestra's own; rename it ({taken} and _... are taken)"
            )
        if label != name:
            raise DefinitionError(f"{self.label}.{name}: this is {label!r} under a second name; take one of them away")

    # ---- the data at the start

    def begin(self) -> Callable[..., Data] | None:
        begins = {name: one for name, one in self.members_of.items() if isinstance(one, Begin)}
        if len(begins) > 1:
            raise DefinitionError(f"{self.label}: {' and '.join(begins)} are both @on_started; keep one")
        for name, one in begins.items():
            place = f"{self.label}.{name}"
            check_method(place, one.make, ())
            if says(place, one.make) != [self.data]:
                raise DefinitionError(f"{place}: it gives the data at the start; let it return {self.data.__name__}")
            return one.make
        try:
            self.data()
        except ValidationError:
            raise DefinitionError(
                f"{self.label}: {self.data.__name__} has fields without a default, so what do they hold at the start? "
                f"Add a method under @on_started that returns a {self.data.__name__}, or give them defaults"
            ) from None
        return None

    # ---- states

    def states(self) -> dict[str, ChartState]:
        inside: dict[str | None, list[State]] = {}
        for one in self._states:
            inside.setdefault(None if one.within is None else self._known(one, "within", one.within), []).append(one)
        compiled: dict[str, ChartState] = {}

        def add(one: State, ancestors: tuple[str, ...]) -> None:
            children = inside.get(one.label, [])
            order = len(compiled)
            compiled[one.label] = self._state(one, order, ancestors, tuple(child.label for child in children))
            for child in children:
                add(child, (one.label, *ancestors))

        for root in inside.get(None, []):
            add(root, ())
        return compiled

    def _known(self, of: State, what: str, named: object) -> str:
        if not isinstance(named, State) or self.members_of.get(named.label) is not named:
            said = named.label if isinstance(named, State) else repr(named)
            have = ", ".join(one.label for one in self._states)
            raise DefinitionError(
                f"{self.label}.{of.label}: {what}={said}: this is no state of the machine (of another class, or "
                f"without a name of its own); it has {have}"
            )
        return named.label

    def _state(self, one: State, order: int, ancestors: tuple[str, ...], children: tuple[str, ...]) -> ChartState:
        place = f"{self.label}.{one.label}"
        timers: list[Transition] = []
        by_trigger: dict[str, list[Transition]] = {}
        for declared in one.transitions:
            for each in self._transitions(place, declared, len(timers)):
                by_trigger.setdefault(each.trigger, []).append(each)
                if declared.trigger == "after":
                    timers.append(each)
        is_end = one.final and one.within is None
        for surplus in one.surplus:
            self._event(f"{place}.{surplus.policy}", surplus.event, surplus.by)
        return ChartState(
            name=one.label,
            parent=ancestors[0] if ancestors else None,
            order=order,
            initial=one.initial,
            final=one.final,
            parallel=one.parallel,
            failed=one.failed,
            children=children,
            ancestors=ancestors,
            transitions={trigger: tuple(many) for trigger, many in by_trigger.items()},
            timers=tuple(timers),
            entries=tuple(self._doing.doer(place, one.label, "entry", each, is_end) for each in one.entries),
            exits=tuple(self._doing.left(place, one.label, each) for each in one.exits),
            surplus={spec_of(surplus.event).type: surplus.policy for surplus in one.surplus},
        )

    def close(self) -> None:
        """The class is made: what is declared later would be in no chart."""
        for one in self._states:
            one.owner = self.label

    # ---- transitions

    def _transitions(self, place: str, declared: Declared, timers: int) -> Iterator[Transition]:
        to = None if declared.to is None else self._known(declared.source, "to", declared.to)
        for trigger, label, event, has_value in self._triggers(place, declared, timers):
            where = f"{place} {label}".rstrip()
            given = ("the event",) if has_value else ()
            if declared.when is not None:
                check_method(f"{where}: when={name_of(declared.when)}", declared.when, given)
            delay = None
            if declared.trigger == "after":
                delay = self._delay(where, declared.source.label, declared.of)
            yield Transition(
                source=declared.source.label,
                trigger=trigger,
                label=label,
                event=event,
                to=to,
                when=declared.when,
                action=None if declared.action is None else self._doing.method(where, declared.action, given),
                delay=delay,
                has_value=has_value,
            )

    def _triggers(
        self, place: str, declared: Declared, timers: int
    ) -> Iterator[tuple[str, str, type[Event] | None, bool]]:
        """The trigger, in words, the event's class if there is one, and whether there is something to take."""
        kind, of = declared.trigger, declared.of
        if kind == "event":
            for event in of:
                self._event(f"{place}.on", event, declared.by)
                yield trigger_of("event", spec_of(event).type), event.__name__, event, True
        elif kind == "after":
            said = f"after {name_of(of)}" if callable(of) else f"after {of}"
            yield trigger_of("after", str(timers)), said, None, False
        elif kind == "always":
            yield "", "", None, False
        elif kind == "cancel":
            yield "cancel", "cancel", None, False
        elif isinstance(of, State):
            yield trigger_of("done", of.label), "done", None, False
        else:
            yield self._of_part(place, declared)

    def _of_part(self, place: str, declared: Declared) -> tuple[str, str, type[Event] | None, bool]:
        part = declared.of
        assert isinstance(part, Part)
        if self.members_of.get(part.label) is not part:
            raise DefinitionError(
                f"{place}: {part.label!r} is hidden by a later member of that name, or has no name; rename one of them"
            )
        if isinstance(part, Sending) and part.when == "exit":
            raise DefinitionError(
                f"{place}: {part.label!r} is sent when the state is left, and then its outcome triggers nothing there; "
                f"send it under @{declared.source.label}.entry"
            )
        words = {"done": "approved" if isinstance(part, Question) else "done"}
        word = words.get(declared.trigger, declared.trigger)
        return trigger_of(declared.trigger, part.label), f"{part.label} {word}", None, True

    def _event(self, place: str, event: object, by: str | None) -> None:
        if not (isinstance(event, type) and issubclass(event, Event)):
            raise DefinitionError(f"{place}: it takes Event classes; {event!r} is none")
        spec = spec_of(event)
        if spec.topic is None:
            raise DefinitionError(
                f"{place}: {event.__name__} has no topic, where would it come from? Add topic=... to it"
            )
        if (other := self.events.setdefault(spec.type, event)) is not event:
            raise DefinitionError(
                f"{place}: {other.__qualname__} and {event.__qualname__} both have the type {spec.type!r}; give each "
                f"its own"
            )
        if by is not None and by not in event.model_fields:
            raise DefinitionError(f"{place}: by={by!r}: {event.__name__} has no such field; it has {_fields(event)}")
        if by is not None and self.keys.setdefault(spec.type, by) != by:
            raise DefinitionError(
                f"{place}: by={by!r}, and elsewhere by={self.keys[spec.type]!r}: an event is for the same instances "
                f"wherever it is taken; say it once"
            )

    def check_keys(self) -> None:
        """Every event says for which instance it is: somewhere, for it holds everywhere."""
        for kind, event in self.events.items():
            if spec_of(event).key_field is None and kind not in self.keys:
                raise DefinitionError(
                    f"{self.label}: {event.__name__} has no key, so which instance is it for? Say by='<field>' where "
                    f"it is taken, or mark one of its fields, such as order_id: Key[str]"
                )

    def _delay(self, place: str, state: str, delay: Any) -> Any:
        if callable(delay):
            check_method(place, delay, ())
            return delay
        return Place(self.label, state, {}, saga=False).seconds("after", delay)


def _fields(event: type[Event]) -> str:
    return ", ".join(event.model_fields) or "none"
