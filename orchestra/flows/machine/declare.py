"""How does a team say in which states a thing can be, and what moves it from one to the next?

States and transitions are members of a class; data is typed; methods are plain, synchronous and pure. What types cannot
say is checked when the class is made. Semantics are those of SCXML and UML where they agree (see
``docs/how-to/state-machine.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from orchestra.errors import DefinitionError
from orchestra.flows.machine.compile import compile_machine
from orchestra.flows.machine.decide import CompiledMachine
from orchestra.flows.machine.state import Begin, Data, State, Unexpected

D = TypeVar("D", bound=Data)
M = TypeVar("M", bound=Callable[[Any], Data])


def state(
    within: State | None = None,
    /,
    *,
    initial: bool = False,
    final: bool = False,
    parallel: bool = False,
    failed: bool = False,
) -> State:
    """Declare a state: ``moving = state()``.

    Args:
        within: the state that this one is a part of, declared above it.
        initial: it is the one that is entered first, of the machine or of the state around it.
        final: nothing leads out of it. The machine is over when one of its own final states is reached; a state with
            states within is ``done`` when one of theirs is.
        parallel: the states within are all active at once: regions.
        failed: of a final state: whoever called the machine is told that it failed.
    """
    return State(within=within, initial=initial, final=final, parallel=parallel, failed=failed)


def on_started(make: M, /) -> M:
    """Declare what the data is at the start: a method that returns it. Needed where the data's class has fields without
    a default."""
    return Begin(make)  # type: ignore[return-value]  # found, and taken out, when the class is compiled


class StateMachine(Generic[D]):
    """A process that is in states, and goes from one to another on events: ``class Parcel(StateMachine[ParcelData],
    name="parcel", version=1)``.

    Class keywords: ``name`` and ``version`` as of a flow; ``unexpected``: what becomes of an event that no active state
    has a transition for, where no state says otherwise: "ignore" (default: a line in the journal), "defer" (kept, at
    most 20, until a state takes it) or "reject" (an alert, and a line in the journal).

    Raises:
        DefinitionError: when the class is made and cannot work; the text names class, member and remedy.
    """

    now: datetime
    """The recorded time of the input that is being decided: the same on every replay."""
    data: D
    """What the machine remembers, as it was before the action that runs."""

    _saga: ClassVar[bool] = False
    _definition: ClassVar[CompiledMachine]

    def __init_subclass__(
        cls, *, name: str | None = None, version: int = 1, unexpected: Unexpected = "ignore", **keywords: object
    ) -> None:
        super().__init_subclass__(**keywords)
        if (base := next((one for one in cls.__mro__[1:] if hasattr(one, "_definition")), None)) is not None:
            raise DefinitionError(
                f"{cls.__name__}: a machine is not derived from another one ({base.__name__}), whose states it would "
                f"share; share methods by a plain class, and write the states again"
            )
        chart = compile_machine(cls, _data_of(cls), name=name, version=version, unexpected=unexpected)
        cls._definition = CompiledMachine(chart)


def _data_of(cls: type) -> object:
    for base in getattr(cls, "__orig_bases__", ()):
        if get_origin(base) is StateMachine:
            return get_args(base)[0]
    return None
