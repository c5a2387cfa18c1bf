"""What can be said of a flow without running it, and how is it said?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from orchestra.flows.graph import ApprovalNode, Graph, Kind, StepNode, WaitNode
from orchestra.flows.machine.chart import Chart, Run, Send


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend (a mistake), or to think about (a warning).

    Attributes:
        level: a mistake makes the check fail.
        code: stable, for machines: "wait without timeout", "not deterministic", ...
        place: class and member.
        text: what, and what to do about it.
    """

    level: Literal["mistake", "warning"]
    code: str
    place: str
    text: str


def graph_findings(graph: Graph) -> Iterator[Finding]:
    """What the graph alone shows."""
    for node in graph.nodes.values():
        place = f"{graph.label}.{node.name}"
        if isinstance(node, StepNode | WaitNode | ApprovalNode) and node.timeout is None and graph.deadline is None:
            what = "answer" if isinstance(node, StepNode) else "event" if isinstance(node, WaitNode) else "decision"
            text = f"no {what} ever, and the flow waits for ever: say timeout=, or give the flow a deadline"
            yield Finding("warning", "wait without timeout", place, text)
    plain = [node.name for node in graph.nodes.values() if isinstance(node, StepNode) and node.kind is Kind.PLAIN]
    if plain:
        text = (
            f"who cancels it leaves standing what {', '.join(plain)} did: write .undo, or kind='read_only' where there "
        )
        text += "is nothing to undo"
        yield Finding("warning", "no compensation", graph.label, text)


def chart_findings(chart: Chart) -> Iterator[Finding]:
    """What the chart of a machine alone shows."""
    for state in chart.states.values():
        around = (state, *(chart.states[name] for name in state.ancestors))
        if state.final or state.children or any(one.timers for one in around):
            continue
        if any(isinstance(one, Send | Run) for each in around for one in each.entries):
            continue  # its outcome leads on
        text = f"nothing but an event or a person leads out of it: say {state.name}.after('7d', to=...) if none comes"
        yield Finding("warning", "wait without timeout", f"{chart.label}.{state.name}", text)
