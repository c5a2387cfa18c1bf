"""What could nobody handle? ``orchestra dead-letters list TOPIC``. Reads, and changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.columns import one_line, show_columns
from orchestra.errors import TopicError

if TYPE_CHECKING:
    from orchestra.settings import Settings
    from orchestra.transport.port import Record, Transport

app = typer.Typer(help="The records that nobody could handle.", no_args_is_help=True, rich_markup_mode=None)

_FIELDS = (
    "id", "reason", "error-class", "error-message", "fingerprint", "handler", "service-version", "source-topic",
    "source-partition", "source-offset", "attempts", "first-failure", "last-failure", "redrive-count",
)  # fmt: skip
_NUMBERS = frozenset({"source-partition", "source-offset", "attempts", "redrive-count"})


@app.command("list")
def list_(
    topic: Annotated[str, typer.Argument(help="As the code names it: <service>.dead-letters.", metavar="TOPIC")],
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many.")] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: a list of dead letters, oldest first.")
    ] = False,
) -> None:
    """Show the newest dead letters.

    What, when, why, and where the record came from; then how many there are of each kind.
    """
    letters = asyncio.run(_newest(settings_from_environment(), topic, most))
    rows = [described(letter) for letter in letters]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows, topic)


async def _newest(settings: Settings, declared: str, most: int) -> list[Record]:
    async with connected(settings) as transport:
        return await newest(transport, settings.topic(declared), most)


async def newest(transport: Transport, topic: str, most: int) -> list[Record]:
    """The newest records of a topic, by their timestamps, oldest first.

    Raises:
        TopicError: there is no such topic.
    """
    from orchestra.transport.port import Partition
    from orchestra.transport.tail import read_newest

    state = (await transport.topics.describe([topic])).get(topic)
    if state is None:
        raise TopicError(f"there is no topic {topic!r}; a service's dead letters are in <service>.dead-letters")
    found: list[Record] = []
    for number in range(state.partitions):
        found += await read_newest(transport, Partition(topic, number), most)
    return sorted(found, key=_time)[-most:]


def described(letter: Record) -> dict[str, object]:
    """A dead letter's own headers by name, with its key and the type of its event where it has one."""
    row: dict[str, object] = {"time": _time(letter).isoformat(timespec="milliseconds")}
    for name in _FIELDS:
        text = _text(letter.header(f"orchestra-dlq-{name}"))
        row[name.replace("-", "_")] = int(text) if name in _NUMBERS and text is not None and text.isdigit() else text
    row["type"] = _text(letter.header("ce_type"))
    row["key"] = _text(letter.key)
    return row


def _time(letter: Record) -> datetime:
    """When it became a dead letter; its own timestamp is the original record's."""
    text = _text(letter.header("orchestra-dlq-last-failure"))
    try:
        return datetime.fromisoformat(text or "").astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(letter.timestamp_ms / 1000, UTC)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")


def _show(rows: list[dict[str, object]], topic: str) -> None:
    if not rows:
        typer.echo(f"no dead letters in {topic}")
        return
    for row in rows:
        _show_one(row)
    typer.echo("")
    counts = Counter((str(row["reason"]), str(row["handler"] or "-"), str(row["fingerprint"] or "-")) for row in rows)
    show_columns(
        ("reason", "handler", "fingerprint", "count"), [(*group, count) for group, count in counts.most_common()]
    )


def _show_one(row: dict[str, object]) -> None:
    when = str(row["time"])[:19].replace("T", " ")
    error = str(row["error_class"] or "").rpartition(".")[2]
    typer.echo(
        f"{typer.style(when, dim=True)}  {typer.style(str(row['reason']), fg='red')}  "
        + one_line(f"{error}: {row['error_message']}")
    )
    source = f"{row['source_topic']}[{row['source_partition']}]@{row['source_offset']}"
    details = {
        "from": source,
        "key": row["key"],
        "type": row["type"],
        "handler": row["handler"],
        "tries": row["attempts"],
    }
    line = "  ".join(f"{name} {one_line(str(value))}" for name, value in details.items() if value not in (None, ""))
    typer.secho(f"{' ' * 21}{line}", dim=True)
