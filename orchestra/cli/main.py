"""Which commands are there, and how does a failed one end?

A command lives in ``orchestra/cli/<command>.py`` and is registered here, in one line. Such a module imports at its top
what costs nothing (typer, the standard library) and the rest inside its functions: ``orchestra --help`` imports every
module of this package, and must not wait for aiokafka, pydantic or a user's application.

A command raises the :class:`~orchestra.errors.OrchestraError` it meets: ``failure`` says how it is shown here, and the
exit codes.
"""

from __future__ import annotations

import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestra.cli import (
    approvals,
    check,
    dead_letters,
    doctor,
    flows,
    graph,
    instances,
    kafka,
    ledger,
    new,
    operate,
    outbox,
    run,
    schema,
    topics,
)
from orchestra.cli.failure import exit_code, explain
from orchestra.errors import OrchestraError

_DEBUG = "--debug"


class _Commands(TyperGroup):
    """The commands; an error that orchestra raised on purpose is a sentence for a person."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # People add it to the end of the command that failed.
        asked = [_DEBUG] if _DEBUG in args else []
        return super().parse_args(ctx, asked + [word for word in args if word != _DEBUG])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OrchestraError as error:
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            typer.secho(f"orchestra: {explain(error)}", err=True, fg="red")
            raise typer.Exit(exit_code(error)) from error


app = typer.Typer(
    name="orchestra",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    epilog=(
        "Settings are environment variables: ORCHESTRA_BOOTSTRAP_SERVERS (default localhost:9092), ORCHESTRA_ENV, "
        "ORCHESTRA_NAMESPACE and more, see orchestra/settings.py. Exit codes: 0 done, 1 it did not work, 2 the command "
        "line or a definition is wrong, 3 a setting is, 4 no broker answers, 5 topics are not as needed, "
        "6 not everything was checked."
    ),
    rich_markup_mode=None,  # rich's help costs three times the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orchestra {version('orchestra')}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error too.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None:
    """Event handlers, sagas and replay on nothing but Kafka."""


# A single command is a plain function, a group of commands an app of its own.
app.command("run")(run.run)
app.command("doctor")(doctor.doctor)
app.command("graph")(graph.graph)
app.command("new")(new.new)
app.command("check")(check.check)
app.add_typer(flows.app, name="flows")
app.add_typer(instances.app, name="instances")
for act in (operate.retry, operate.restart, operate.cancel, operate.skip, operate.resolve):
    instances.app.command()(act)
app.add_typer(approvals.app, name="approvals")
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(ledger.app, name="ledger")
app.add_typer(outbox.app, name="outbox")
app.add_typer(schema.app, name="schema")
app.add_typer(kafka.app, name="kafka")
