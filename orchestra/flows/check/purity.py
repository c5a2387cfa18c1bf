"""Does a flow's method do what it must not: ask the time, throw dice, do I/O?

While a method runs, each call into C is looked at before it is made: the clock, chance and I/O are C in the end. What
is barred is not called.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

_CLOCK = frozenset(
    {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}
    | {"process_time", "process_time_ns", "sleep"}
)
_NOW = frozenset({"now", "utcnow", "today"})
_DICE = frozenset({"random", "getrandbits", "randbytes"})
_I_O_MODULES = frozenset({"_socket", "select", "_posixsubprocess", "_sqlite3", "_ssl", "nt", "posix"})
_HARMLESS = frozenset({"fspath", "strerror", "register_at_fork"})


class BarredError(BaseException):
    """A flow's method called what it must not. No ``except Exception`` of the method's own catches it."""


class Barred(NamedTuple):
    """What was called, and why that is wrong."""

    call: str
    why: str


@contextmanager
def watched() -> Generator[list[Barred]]:
    """Within it, the first barred call of this thread raises BarredError; the list says which it was."""
    found: list[Barred] = []
    before, collects = sys.getprofile(), gc.isenabled()

    def look(frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call" or (barred := _barred(arg, frame)) is None or _imports(frame):
            return
        found.append(barred)
        sys.setprofile(before)
        raise BarredError(barred.call)

    gc.disable()  # what a collection calls, callbacks and finalizers, is not the method's doing
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def run_watched(call: Callable[[], Any]) -> tuple[Any, Barred | None]:
    """What a call returns, and what it called that it must not (then it returns None)."""
    with watched() as found:
        try:
            return call(), None
        except BarredError:
            return None, found[0]


def _barred(function: Any, frame: FrameType) -> Barred | None:
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    module = str(getattr(function, "__module__", None) or getattr(owner, "__name__", ""))
    if module == "time" and (name in _CLOCK or (name in ("localtime", "gmtime", "ctime") and not _is_strptime(frame))):
        return Barred(f"time.{name}", "it asks the time; self.now is the recorded one")
    if name in _NOW and isinstance(owner, type) and hasattr(owner, "fromisoformat"):
        return Barred(f"{owner.__name__}.{name}", "it asks the time; self.now is the recorded one")
    if name in _DICE and type(owner).__module__ in ("random", "_random") and _is_shared(owner):
        return Barred(_public(frame, f"random.{name}"), "it throws dice, and would fall otherwise the next time")
    if name == "urandom" or module == "_uuid":
        return Barred(_public(frame, "os.urandom"), "it throws dice, and would fall otherwise the next time")
    if name in ("open", "open_code") and module in ("io", "_io", "builtins"):
        return Barred("open", "it does I/O, which belongs in a handler")
    if name == "input" and module == "builtins":
        return Barred("input", "it does I/O, which belongs in a handler")
    if (module in _I_O_MODULES or type(owner).__module__ in _I_O_MODULES) and name not in _HARMLESS:
        return Barred(f"{_public_module(module, owner)}.{name}", "it does I/O, which belongs in a handler")
    return None


def _is_shared(generator: Any) -> bool:
    """The module's own generator, or one that the system seeds. One that the method seeds itself is no chance."""
    random: Any = sys.modules["random"]
    return generator is random._inst or isinstance(generator, random.SystemRandom)


def _public(frame: FrameType | None, otherwise: str) -> str:
    """The function of the standard library that the method called, where that says more: ``uuid.uuid4``."""
    name = otherwise
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module in ("uuid", "secrets", "random"):
            name = f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return name


def _public_module(module: str, owner: Any) -> str:
    name = module if module in _I_O_MODULES else type(owner).__module__
    return {"posix": "os", "nt": "os"}.get(name, name.lstrip("_"))


def _is_strptime(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") == "_strptime"


def _imports(frame: FrameType | None) -> bool:
    """An import under way reads files, and that is no fault of the method's."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
