"""Can a flow end in a way that it must not, whatever happens? ``orchestra check module:Flow``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestra.cli.check_targets import Checked
    from orchestra.flows.check.findings import Finding
    from orchestra.flows.check.prove import Report

_MARKS = {"proved": ("✓", "green"), "violation": ("✗", "red"), "not exhausted": ("?", "yellow")}
_CODES = {"proved": 0, "violation": 1, "not exhausted": 6}


def check(
    targets: Annotated[
        list[str],
        typer.Argument(help="module:Name of a flow, Coordinator or App; or a package.", metavar="TARGET..."),
    ],
    limit: Annotated[int, typer.Option("--limit", help="States of a flow after which to give up.", min=1)] = 50_000,
    seconds: Annotated[float, typer.Option("--seconds", help="Time for a flow after which to give up.")] = 60.0,
    histories: Annotated[
        Path | None,
        typer.Option(
            "--histories",
            help="Instead, run what `orchestra instances history` has written through the newest version.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of reports.")] = False,
) -> None:
    """Go through everything that may happen to an instance of a flow.

    Whatever the order of answers, timeouts, duplicates, events, decisions and cancellations: each history ends
    completed, compensated, or with somebody called, and leaves no effect behind. One that does not is shown as a story,
    and as a test to paste. Exit code 0: proved. 1: a violation. 6: not all was gone through, no violation so far.
    """
    from orchestra.cli.check_targets import flows_of
    from orchestra.cli.histories import check_histories

    if histories is not None:
        found = (one.definition for target in targets for one in flows_of(target))
        check_histories(found, histories, as_json=as_json)
        return
    flows = [one for target in targets for one in flows_of(target)]
    called = {name for one in flows for name in one.definition.calls}
    reports = [_report(one, one.definition.name in called, limit, seconds) for one in flows]
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        for report in reports:
            _show(report)
    codes = {_CODES[report.verdict] for report in reports}
    if worst := next((code for code in (1, 6) if code in codes), 0):
        raise typer.Exit(worst)


def _report(checked: Checked, called: bool, limit: int, seconds: float) -> Report:
    from orchestra.cli.check_patience import patience_findings
    from orchestra.clock import SystemClock
    from orchestra.flows.check.prove import check_definition

    elapsed = SystemClock().elapsed
    report = check_definition(checked.definition, called=called, limit=limit, seconds=seconds, elapsed=elapsed)
    if checked.app is None:
        return report
    return replace(report, findings=[*report.findings, *patience_findings(checked.definition, checked.app)])


def _show(report: Report) -> None:
    mark, colour = _MARKS[report.verdict]
    name = f"{report.label}, {report.flow} version {report.version}"
    typer.echo(f"{typer.style(mark, fg=colour)} {name}: {_verdict(report)}")
    for finding in report.findings:
        _show_finding(finding)
    if (violation := report.violation) is not None:
        moves = f"{violation.moves} thing{'' if violation.moves == 1 else 's'} happening"
        typer.echo(f"\nThe shortest history that shows it, of {moves}:\n\n{violation.story}\n")
        typer.echo(f"The same as a test, with `from orchestra.testing import run`:\n\n{violation.test}")


def _verdict(report: Report) -> str:
    how_far = f"{report.states:,} states, {report.transitions:,} inputs, {report.depth} deep, in {report.seconds:.1f} s"
    if report.violation is not None:
        return f"{report.violation.rule}: broken ({how_far})"
    if report.verdict == "violation":
        return f"something is to be mended ({how_far})"
    if report.verdict == "not exhausted":
        return f"explored {how_far}, not all: no violation so far. --limit and --seconds let it go on"
    return f"proved ({how_far})"


def _show_finding(finding: Finding) -> None:
    mark, colour = ("✗", "red") if finding.level == "mistake" else ("!", "yellow")
    typer.echo(f"  {typer.style(mark, fg=colour)} {finding.place}: {finding.code}: {finding.text}")
