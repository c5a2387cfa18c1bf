"""Which commands are there, and how does a failed one end?

A command lives in ``orchestra/cli/<command>.py`` and is registered here, in one line. Such a module imports at its top
what costs nothing (typer, the standard library) and the rest inside its functions: ``orchestra --help`` imports every
module of this package, and must not wait for aiokafka, pydantic or a user's application.

Exit codes: 0 done; 1 it did not work, and the text on stderr says why; 2 the command line is wrong. A command raises
the :class:`~orchestra.errors.OrchestraError` it meets: it is printed here, without a traceback.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from orchestra.cli import kafka
from orchestra.errors import OrchestraError


class _Commands(TyperGroup):
    """The commands; an error that orchestra raised on purpose is a sentence for a person."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OrchestraError as error:
            typer.secho(f"orchestra: {error}", err=True, fg="red")
            raise typer.Exit(1) from error


app = typer.Typer(
    name="orchestra",
    cls=_Commands,
    help="Event handlers, sagas and replay on nothing but Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# A group of commands: ``orchestra kafka up``.
app.add_typer(kafka.app, name="kafka")

# A single command is a plain function: app.command("run")(run.run)
