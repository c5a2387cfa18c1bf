"""What does ``async with ctx.effect(session, command) as effect`` do? An effect that happens once, asked for twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeGuard, TypeVar

from orchestra.errors import DecodeError, DefinitionError, PermanentError
from orchestra.events.message import Command, Event, Message, Undo, decode_data, spec_of
from orchestra.service.entry import Entry, LedgerSession, State
from orchestra.service.outcome import Emitted, emitted
from orchestra.service.signals import Refused
from orchestra.sql.failure import is_contention

if TYPE_CHECKING:
    from orchestra.service.ledger import SqlLedger
    from orchestra.sql.session import Session

O = TypeVar("O", bound=Event)  # noqa: E741

_ENTER_ROUNDS = 5

Types = Mapping[str, type[Event]]
"""Type -> class of every outcome that the service can give."""


@dataclass(slots=True)
class Handling:
    """What an effect needs to know of its handling, and gives back to it.

    Attributes:
        messages: what the handler emitted so far; on a repeat replaced by what it emitted then.
        settled: the entry to answer from, once the effect is committed or found.
    """

    effect_id: str
    handler: str
    types: Types
    now: Callable[[], datetime]
    messages: list[Emitted]
    settled: Entry | None = None
    is_used: bool = False


class Effect(Generic[O]):
    """The effect of one command, within its transaction.

    Attributes:
        outcome: how it ended, if it was done before: return it, and do nothing. None: do it now, and return what
            ``done`` returns.
        action: in a compensation, the outcome of the action that it undoes. None: the action was not done, and from
            now on never will be.
        is_repeat: whether it was done before.
    """

    def __init__(self, session: Session | LedgerSession, message: Message, handling: Handling) -> None:
        self._session = session
        self._ledger = ledger_of(session)
        self._message = message
        self._handling = handling
        self._done: Emitted | None = None
        self._is_done = False
        self._at = whole_millis(handling.now())
        self.outcome: O | None = None
        self.action: Event | None = None
        self.is_repeat = False

    def done(self, outcome: O) -> O:
        """Say how it ended: a reply or a rejection. Stored with the effect when the block is left; returned unchanged.

        Raises:
            EncodeError: the outcome has no JSON form.
            DefinitionError: it is no reply and no rejection of the command.
        """
        self._check(outcome)
        self._finish(outcome)
        return outcome

    def _check(self, outcome: Event) -> None:
        """Before it is stored: what is committed is sent, and sent again, whatever the handler returns after it."""
        spec = spec_of(type(self._message))
        answers = (*spec.replies, *spec.rejections)
        if spec.is_command and type(outcome) not in answers:
            may = " | ".join(answer.__qualname__ for answer in answers)
            raise DefinitionError(
                f"{self._handling.handler}: effect.done({type(outcome).__qualname__}(...)), where it may be {may}"
            )

    def _finish(self, outcome: Event | None) -> None:
        if self.is_repeat:
            raise DefinitionError("effect.done(): it was done before; return effect.outcome and do nothing")
        self._done = None if outcome is None else emitted(outcome)
        self._is_done = True

    async def __aenter__(self) -> Self:
        handling = self._handling
        if handling.is_used:
            raise DefinitionError(f"{handling.handler}: one call has one effect; enter ctx.effect once")
        handling.is_used = True
        if self._session.in_transaction():
            raise DefinitionError(
                f"{handling.handler}: the session is in a transaction already; enter ctx.effect before using it"
            )
        rounds = _ENTER_ROUNDS
        while True:
            rounds -= 1
            try:
                await self._enter()
            except BaseException as error:
                await self._session.rollback()
                # Where a transaction sees a snapshot (REPEATABLE READ, SERIALIZABLE), one that waited for another
                # delivery is told to begin anew, instead of seeing its row. Nothing is done yet: so do, and see it.
                if not rounds or not is_contention(error):
                    raise
            else:
                return self

    async def _enter(self) -> None:
        handling = self._handling
        known = await self._ledger.take(handling.effect_id, State.OPEN, handling.handler, self._at)
        if known is None:
            if (action := action_of(handling.effect_id, self._message)) is not None:
                self.action = self._outcome_of(await self._bar(action))
            return
        await self._session.rollback()  # nothing to do: let others have the lock
        if (reason := known.refusal) is not None:
            raise Refused(reason)
        self.is_repeat = True
        self.outcome = self._outcome_of(known)
        handling.messages[:] = known.messages
        handling.settled = known

    async def _bar(self, action: str) -> Entry | None:
        """The action's entry; where there is none, one that keeps it from ever happening."""
        found = await self._ledger.find(action)  # it is there nearly always: look before writing
        return found or await self._ledger.take(action, State.BARRED, self._handling.handler, self._at)

    def _outcome_of(self, entry: Entry | None) -> Any:
        if entry is None or entry.outcome is None or entry.state is not State.DONE:
            return None
        cls = self._handling.types.get(entry.outcome.type)
        if cls is None:
            raise DecodeError("type", f"the ledger holds a {entry.outcome.type!r}, which this service does not know")
        return decode_data(cls, entry.outcome.data)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._session
        if self.is_repeat or error is not None or not self._is_done:
            if session.in_transaction():
                await session.rollback()
            if error is None and not self.is_repeat:
                raise PermanentError(f"{self._handling.handler} left its effect without effect.done(...)")
            return
        handling = self._handling
        if self._is_rejected_compensation():
            await self._ledger.forget(handling.effect_id)
        else:
            await self._ledger.store(handling.effect_id, self._done, handling.messages)
        await session.commit()
        handling.settled = Entry(State.DONE, self._at, self._done, tuple(handling.messages))

    def _is_rejected_compensation(self) -> bool:
        """What cannot be undone now is asked for again under the same effect id: it is not remembered."""
        if self._done is None or action_of(self._handling.effect_id, self._message) is None:
            return False
        return self._done.type in {spec_of(rejection).type for rejection in spec_of(type(self._message)).rejections}


class EventEffect(Effect[Event]):
    """The effect of an event: nobody waits for an outcome, so there may be none."""

    def done(self, outcome: O | None = None) -> O | None:  # type: ignore[override]
        """Say that it is done. An event given here is emitted, also when the effect is repeated; returned unchanged."""
        self._finish(outcome)
        return outcome


async def shut_expired(session: Session | LedgerSession, effect_id: str, handler: str, at: datetime) -> Entry:
    """The entry of a command that came too late: if it was never begun, it is shut from now on."""
    try:
        found = await ledger_of(session).take(effect_id, State.EXPIRED, handler, at)
        if found is None:
            await session.commit()
        return found or Entry(State.EXPIRED, at)
    finally:
        if session.in_transaction():
            await session.rollback()


def ledger_of(session: Session | LedgerSession) -> LedgerSession | SqlLedger:
    """Where the entries are that the session's transaction makes. Raises ImportError: SQLAlchemy is not installed."""
    if isinstance(session, LedgerSession):
        return session
    from orchestra.service.ledger import SqlLedger

    return SqlLedger(session)


def keeps_ledger(value: object) -> TypeGuard[Session | LedgerSession]:
    """Whether an effect can be entered with this."""
    if isinstance(value, LedgerSession):
        return True
    from orchestra.sql.session import is_session

    return is_session(value)


def whole_millis(moment: datetime) -> datetime:
    """The moment as a row keeps it."""
    return datetime.fromtimestamp(round(moment.timestamp() * 1000) / 1000, UTC)


def action_of(effect_id: str, message: Message) -> str | None:
    """The effect id of the action that this command undoes, or None where it undoes none."""
    if isinstance(message, Undo):
        return message.effect_id
    if isinstance(message, Command):
        parts = effect_id.rsplit("/", 2)  # <instance>/<run>/<step>, phase, iteration
        if len(parts) == 3 and parts[1] == "undo":
            return f"{parts[0]}/action/{parts[2]}"
    return None
