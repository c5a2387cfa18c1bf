"""What does a state do on entry and exit, compiled? Methods, commands, flows and questions, each checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, Message, spec_of
from orchestra.flows.called import called_by
from orchestra.flows.machine.chart import Ask, Doer, Doing, Method, Run, Send
from orchestra.flows.machine.state import Child, Data, Part, Question, Sending
from orchestra.flows.method import check_method, says
from orchestra.flows.place import Place


class DoingCompiler:
    """What the states of one class do.

    Raises:
        DefinitionError: from every method; names class, member and remedy.
    """

    def __init__(self, label: str, members: Mapping[str, object], data: type[Data]) -> None:
        self.label = label
        self.data = data
        self._members = members

    def doer(self, place: str, state: str, doing: Doing, one: object, is_end: bool = False) -> Doer:
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
                check_method(f"{place}.{one.label}: requester={name_of(one.requester)}", one.requester, ())
            return Ask(name=one.label, state=state, role=one.role, requester=one.requester)
        assert callable(one)
        return self.method(f"{place}.{doing} ({name_of(one)})", one, ())

    def left(self, place: str, state: str, one: object) -> Method | Send:
        doer = self.doer(place, state, "exit", one)
        assert isinstance(doer, (Method, Send))  # nothing else is declared on exit
        return doer

    def _send(self, place: str, state: str, doing: Doing, one: Sending[Any, Any], is_end: bool) -> Send:
        where = f"{self.label}.{one.label}"
        commands = says(where, one.make)
        if len(commands) != 1 or not _is_sendable(commands[0], Command):
            raise DefinitionError(f"{where}: it returns one kind of command, always; make a method of each")
        check_method(where, one.make, ())
        timeout = Place(self.label, one.label, {}, saga=False).limit("timeout", one.timeout)
        is_owed = doing == "exit" or is_end
        if is_owed and timeout is None:
            raise DefinitionError(f"{where}: {place} would wait for ever for its answer; give it a timeout")
        return Send(
            name=one.label,
            state=state,
            doing=doing,
            make=one.make,
            command=commands[0],
            retry=Place(self.label, one.label, {}, saga=False).retry(one.retry),
            timeout=timeout,
            is_owed=is_owed,
        )

    def _run(self, place: str, state: str, one: Child[Any]) -> Run:
        where = f"{self.label}.{one.label}"
        called = called_by(where, one.flow)
        check_method(where, one.make, ())
        starts = tuple(says(where, one.make))
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

    def method(self, place: str, make: Callable[..., Any], arguments: Sequence[str]) -> Method:
        check_method(place, make, arguments)
        gives: list[type[Any]] = []
        for one in says(place, make):
            if one is NoneType:
                continue
            if one is not self.data:
                self._check_published(place, one)
            gives.append(one)
        return Method(label=name_of(make), make=make, gives=tuple(gives))

    def _check_published(self, place: str, one: Any) -> None:
        if not _is_sendable(one, Event):
            said = getattr(one, "__name__", one)
            raise DefinitionError(
                f"{place}: it returns {said}; an action gives {self.data.__name__}, events that can be published, or "
                f"None"
            )
        if spec_of(one).topic is None:
            raise DefinitionError(f"{place}: {one.__name__} has no topic, where would it go? Add topic=... to it")


def name_of(method: Callable[..., Any]) -> str:
    """A method's name, for people."""
    return getattr(method, "__name__", repr(method))


def _is_sendable(one: object, wanted: type[Message]) -> bool:
    if not (isinstance(one, type) and issubclass(one, wanted)):
        return False
    try:
        spec_of(one)
    except DefinitionError:  # abstract
        return False
    return True
