"""How do I get a real Kafka on this machine? ``orchestra kafka up``, ``status``, ``down``."""

from __future__ import annotations

import typer

app = typer.Typer(help="A real Apache Kafka on this machine: needs no Docker, Java or Maven.", no_args_is_help=True)


@app.callback()
def kafka() -> None:
    """A real Apache Kafka on this machine: needs no Docker, Java or Maven."""
