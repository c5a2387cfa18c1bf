"""What does a line of the log look like: to a person, and to a machine?"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import IO

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; whatever else is on it came through ``extra``."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def set_up(*, as_json: bool, level: str, worker: int | None = None, stream: IO[str] | None = None) -> None:
    """Send everything that is logged to ``stream`` (stderr), one line each; tracebacks follow their line.

    ``worker``: the number of this process among several, for each line: the field ``worker``, or ``[2]`` in front.
    """
    output = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(output)
    handler.setFormatter(JsonLines() if as_json else HumanLines(colours=output.isatty(), worker=worker))
    if worker is not None and as_json:
        handler.addFilter(_Stamp(worker))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(max(logging.WARNING, logging.getLogger().level))


class _Stamp(logging.Filter):
    """Gives each record the number of the worker that logged it."""

    def __init__(self, worker: int) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._worker
        return True


class HumanLines(logging.Formatter):
    """``12:01:02.345 INFO  payments: charged  correlation_id=o-1``. Local time."""

    def __init__(self, *, colours: bool = False, worker: int | None = None) -> None:
        super().__init__()
        self._colours = colours
        self._prefix = "" if worker is None else f"[{worker}] "

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname:<7}"
        if self._colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        fields = "".join(f"  {name}={_escaped(str(value))}" for name, value in extras(record).items())
        line = f"{time} {level} {self._prefix}{record.name}: {_escaped(record.getMessage())}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line: ``timestamp`` (UTC, microseconds), ``level``, ``logger``, ``message``, the extra fields,
    and ``error`` where there was one."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in extras(record).items() if name not in entry}
        if record.exc_info and (error := record.exc_info[1]) is not None:
            entry["error"] = {
                "class": type(error).__qualname__,
                "message": str(error),
                "stack": "".join(traceback.format_exception(error)),
            }
        return json.dumps(entry, default=str, ensure_ascii=False)


def extras(record: logging.LogRecord) -> dict[str, object]:
    """The fields that came through ``extra``, without those that are None."""
    return {name: value for name, value in vars(record).items() if name not in _ORDINARY and value is not None}


def _escaped(text: str) -> str:
    """Text of which no part can pass for a line of its own."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
