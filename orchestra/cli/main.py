"""Which commands are there?

A command lives in ``orchestra/cli/<command>.py`` and is registered here, in one line. Such a module imports at its top
what costs nothing (typer, the standard library) and the rest inside its functions: ``orchestra --help`` imports every
module of this package, and must not wait for aiokafka, pydantic or a user's application.

Exit codes: 0 done; 1 it did not work (the text says why); 2 the command line is wrong.
"""

from __future__ import annotations

import typer

from orchestra.cli import kafka

app = typer.Typer(
    name="orchestra",
    help="Event handlers, sagas and replay on nothing but Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# A group of commands: ``orchestra kafka up``.
app.add_typer(kafka.app, name="kafka")

# A single command is a plain function: app.command("run")(run.run)
