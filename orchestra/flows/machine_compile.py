"""How does the class of a state machine become a chart? Every mistake that types cannot show is an error here, at
import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, get_args

from pydantic import ValidationError

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, Message, spec_of
from orchestra.flows.called import called_by
from orchestra.flows.compile import _members, _name, _start, _version
from orchestra.flows.machine_chart import Ask, Chart, ChartState, Doer, Doing, Method, Run, Send, Transition, trigger_of
from orchestra.flows.machine_rules import check_chart
from orchestra.flows.machine_state import (
    Begin,
    Child,
    Data,
    Declared,
    Part,
    Question,
    Sending,
    State,
    Unexpected,
    returned_by,
)
from orchestra.flows.method import check_method
from orchestra.flows.place import Place

RESERVED = frozenset({"now", "data", "start", "started", "completed", "compensated", "undo", "cancel"})


def compile_machine(cls: type, data: object, *, name: object, version: object, unexpected: object) -> Chart:
    """The chart of a machine's class.

    Raises:
        DefinitionError: the class cannot work; the text names class, member and remedy.
    """
    label = cls.__name__
    members = _members(cls)
    named, start = _name(label, name), _start(label, members)
    compiler = _Compiler(label, members, _data(label, data))
    states = compiler.states()
    compiler.check_keys()
    chart = Chart(
        name=named,
        version=_version(label, version),
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
        self._members = members
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
        begins = {name: one for name, one in self._members.items() if isinstance(one, Begin)}
        if len(begins) > 1:
            raise DefinitionError(f"{self.label}: {' and '.join(begins)} are both @on_started; keep one")
        for name, one in begins.items():
            place = f"{self.label}.{name}"
            check_method(place, one.make, ())
            if returned_by(one.make) != [self.data]:
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
        if not isinstance(named, State) or self._members.get(named.label) is not named:
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
            entries=tuple(self._doer(place, one.label, "entry", each, is_end) for each in one.entries),
            exits=tuple(self._left(place, one.label, each) for each in one.exits),
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
                check_method(f"{where}: when={_called(declared.when)}", declared.when, given)
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
                action=None if declared.action is None else self._method(where, declared.action, given),
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
            said = f"after {_called(of)}" if callable(of) else f"after {of}"
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
        if self._members.get(part.label) is not part:
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
        return self._place(state).seconds("after", delay)

    def _place(self, member: str) -> Place:
        return Place(self.label, member, {}, saga=False)

    # ---- what is done

    def _doer(self, place: str, state: str, doing: Doing, one: object, is_end: bool = False) -> Doer:
        if isinstance(one, Part) and self._members.get(one.label) is not one:
            raise DefinitionError(
                f"{place}: {one.label!r} is hidden by a later member of that name, or has no name; "
                f"give it one of its own"
            )
        if isinstance(one, Sending):
            return self._send(place, state, doing, one, is_end)
        if isinstance(one, Child):
            return self._run(place, state, one)
        if isinstance(one, Question):
            if one.requester is not None:
                check_method(f"{place}.{one.label}: requester={_called(one.requester)}", one.requester, ())
            return Ask(name=one.label, state=state, role=one.role, requester=one.requester)
        assert callable(one)
        return self._method(f"{place}.{doing} ({_called(one)})", one, ())

    def _left(self, place: str, state: str, one: object) -> Method | Send:
        doer = self._doer(place, state, "exit", one)
        assert isinstance(doer, (Method, Send))  # nothing else is declared on exit
        return doer

    def _send(self, place: str, state: str, doing: Doing, one: Sending[Any, Any], is_end: bool) -> Send:
        where = f"{self.label}.{one.label}"
        commands = returned_by(one.make)
        if len(commands) != 1 or not _is_sendable(commands[0], Command):
            raise DefinitionError(f"{where}: it returns one kind of command, always; make a method of each")
        check_method(where, one.make, ())
        timeout = self._place(one.label).limit("timeout", one.timeout)
        is_owed = doing == "exit" or is_end
        if is_owed and timeout is None:
            raise DefinitionError(f"{where}: {place} would wait for ever for its answer; give it a timeout")
        return Send(
            name=one.label,
            state=state,
            doing=doing,
            make=one.make,
            command=commands[0],
            retry=self._place(one.label).retry(one.retry),
            timeout=timeout,
            is_owed=is_owed,
        )

    def _run(self, place: str, state: str, one: Child[Any]) -> Run:
        where = f"{self.label}.{one.label}"
        called = called_by(where, one.flow)
        check_method(where, one.make, ())
        starts = tuple(returned_by(one.make))
        for event in starts:
            if not _is_sendable(event, Event) or spec_of(event).type not in called.starts:
                said = getattr(event, "__name__", event)
                raise DefinitionError(
                    f"{where}: it returns {said}, which does not start {called.label}; that starts on "
                    f"{' or '.join(start.__name__ for start in called.starts.values())}"
                )
        if one.yields not in (called.says or (Done,)):
            known = ", ".join(said.__name__ for said in called.says) or "Done"
            said = getattr(one.yields, "__name__", one.yields)
            raise DefinitionError(f"{where}: yields={said}: when {called.label} completes it says {known}")
        if one.undo and not called.saga:
            raise DefinitionError(f"{where}: undo=True, but {called.label} is no saga and cannot be undone")
        undo = called.saga and not called.insists if one.undo is None else one.undo
        return Run(
            name=one.label, state=state, make=one.make, flow=called.name, starts=starts, yields=one.yields, undo=undo
        )

    def _method(self, place: str, make: Callable[..., Any], arguments: Sequence[str]) -> Method:
        check_method(place, make, arguments)
        gives: list[type[Any]] = []
        for one in returned_by(make):
            if one is NoneType:
                continue
            if one is not self.data:
                self._check_published(place, one)
            gives.append(one)
        return Method(label=_called(make), make=make, gives=tuple(gives))

    def _check_published(self, place: str, one: Any) -> None:
        if not _is_sendable(one, Event):
            said = getattr(one, "__name__", one)
            raise DefinitionError(
                f"{place}: it returns {said}; an action gives {self.data.__name__}, events that can be published, or "
                f"None"
            )
        if spec_of(one).topic is None:
            raise DefinitionError(f"{place}: {one.__name__} has no topic, where would it go? Add topic=... to it")


def _called(method: Callable[..., Any]) -> str:
    return getattr(method, "__name__", repr(method))


def _fields(event: type[Event]) -> str:
    return ", ".join(event.model_fields) or "none"


def _is_sendable(one: object, wanted: type[Message]) -> bool:
    if not (isinstance(one, type) and issubclass(one, wanted)):
        return False
    try:
        spec_of(one)
    except DefinitionError:  # abstract
        return False
    return True
