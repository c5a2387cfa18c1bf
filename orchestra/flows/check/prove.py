"""Can a flow end in a way that it must not, whatever happens? ``orchestra check module:Flow``.

Every order of replies, rejections, dead letters, refusals, timeouts, duplicates, late answers, events, decisions and
cancellations is gone through that the definition allows; guards answer both ways. What was not gone through is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from orchestra.errors import DefinitionError
from orchestra.flows.check.findings import Finding, chart_findings, graph_findings
from orchestra.flows.check.machine import model_of_machine
from orchestra.flows.check.methods import machine_method_findings, method_findings
from orchestra.flows.check.model import Model, model_of_flow
from orchestra.flows.check.search import Explored, Search
from orchestra.flows.check.story import tell
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition
from orchestra.flows.graph import Graph, StepNode
from orchestra.flows.machine.decide import CompiledMachine

DEFAULT_LIMIT = 50_000
"""States; a quarter of a minute, and 200 MB."""

Verdict = Literal["proved", "violation", "not exhausted"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, and the shortest history that shows it.

    Attributes:
        rule: which rule, in a few words; stable.
        text: how it is broken at the end of the history.
        story: the history, to read.
        test: the history, to paste into a test of the flow.
        moves: how many things happen in it.
    """

    rule: str
    text: str
    story: str
    test: str
    moves: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a check has found.

    Attributes:
        flow: the name of the flow, and ``version`` its version.
        label: its class.
        verdict: "proved": every state was explored and every rule holds. "violation": a rule is broken, or a finding is
            a mistake. "not exhausted": no violation so far, and that proves nothing about the rest.
        states: different states that were reached.
        transitions: inputs that were tried.
        depth: moves from the start to the state explored last.
        findings: what needs no search.
        statuses: how many of the states are running, completed, and so on.
    """

    flow: str
    version: int
    label: str
    verdict: Verdict
    states: int
    transitions: int
    depth: int
    seconds: float
    violation: Violation | None = None
    findings: list[Finding] = field(default_factory=list[Finding])
    statuses: dict[str, int] = field(default_factory=dict[str, int])


def check_definition(
    definition: Definition,
    *,
    called: bool = False,
    limit: int = DEFAULT_LIMIT,
    seconds: float = 60.0,
    elapsed: Callable[[], float],
) -> Report:
    """Explore everything that may happen to one instance.

    Args:
        definition: what to check.
        called: whether another flow calls it: then that one waits for its end, and may ask for its undoing.
        limit: states after which to give up.
        seconds: time after which to give up.
        elapsed: seconds on a clock that never goes back.

    Raises:
        NoSampleError: a message cannot be made from its class alone; says where to give an example.
    """
    begun = elapsed()
    model = model_of(definition, called=called)
    search = Search(model, limit=limit, out_of_time=lambda: elapsed() - begun > seconds)
    explored = search.run()
    findings = _findings(definition, model, explored)
    violation = _violation(definition, model, explored)
    wrong = violation is not None or any(one.level == "mistake" for one in findings)
    return Report(
        flow=definition.name,
        version=definition.version,
        label=_label(definition),
        verdict="violation" if wrong else "proved" if explored.finished else "not exhausted",
        states=explored.states,
        transitions=explored.transitions,
        depth=explored.depth,
        seconds=elapsed() - begun,
        violation=violation,
        findings=findings,
        statuses=dict(explored.statuses),
    )


def model_of(definition: Definition, *, called: bool = False) -> Model:
    """A definition made ready to be explored.

    Raises:
        NoSampleError: a message cannot be made from its class.
        DefinitionError: it is of a kind that cannot be explored.
    """
    match definition:
        case CompiledFlow():
            return model_of_flow(definition, called=called)
        case CompiledMachine():
            return model_of_machine(definition)
        case _:
            raise DefinitionError(
                f"{definition.name}: {type(definition).__name__} is no kind of flow that can be explored"
            )


def _label(definition: Definition) -> str:
    match definition:
        case CompiledFlow():
            return definition.graph.label
        case CompiledMachine():
            return definition.chart.label
        case _:
            return definition.name


def _findings(definition: Definition, model: Model, explored: Explored) -> list[Finding]:
    found: list[Finding] = []
    if isinstance(definition, CompiledFlow):
        found += method_findings(definition.graph)
        found += graph_findings(definition.graph)
    elif isinstance(definition, CompiledMachine):
        found += machine_method_findings(definition.chart)
        found += chart_findings(definition.chart)
    if explored.finished:
        label = _label(definition)
        for name in model.parts:
            if name not in explored.reached:
                text = "nothing that may happen leads there"
                found.append(Finding("mistake", "unreachable", f"{label}.{name}", text))
    return found


def _violation(definition: Definition, model: Model, explored: Explored) -> Violation | None:
    if (found := explored.found) is None:
        return None
    tries = _tries(definition.graph) if isinstance(definition, CompiledFlow) else {}
    told = tell(model, found, flow=_label(definition), tries=tries)
    return Violation(found.broken.rule, found.broken.text, told.story, told.test, len(found.history) - 1)


def _tries(graph: Graph) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for node in graph.nodes.values():
        if isinstance(node, StepNode):
            found[node.name, "action"] = node.retry.attempts
            if node.undo is not None:
                found[node.name, "undo"] = node.undo.retry.attempts
    return found
