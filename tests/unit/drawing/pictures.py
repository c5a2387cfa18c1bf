"""Pictures to draw, with everything in them that can be."""

from __future__ import annotations

from orchestra.flows.picture import (
    Group,
    GroupKind,
    Line,
    LineKind,
    Mark,
    Part,
    PartKind,
    Picture,
    Shape,
    ShapeKind,
)

LOAN = Picture(
    title='loan, version 3 "beta"',
    subtitle="Apply, check, decide; a person agrees to large loans <and> signs.",
    nodes=[
        Shape(id="!begin", label="", kind=ShapeKind.INITIAL),
        Shape(id="applied", label="applied", kind=ShapeKind.STATE, parts=[Part(label="Greet", kind=PartKind.ENTRY)]),
        Shape(id="!begin checking", label="", kind=ShapeKind.INITIAL, group="credit"),
        Shape(id="scoring", label="scoring", kind=ShapeKind.STATE, group="credit"),
        Shape(id="scored", label="scored", kind=ShapeKind.FINAL, group="credit"),
        Shape(id="fraud", label="looking for fraud", kind=ShapeKind.STATE, group="identity"),
        Shape(id="known", label="known", kind=ShapeKind.FINAL, group="identity"),
        Shape(id="agreed", label="agreed", kind=ShapeKind.FINAL),
        Shape(id="refused", label="refused", kind=ShapeKind.FINAL),
    ],
    edges=[
        Line(start="!begin", end="applied"),
        Line(start="applied", end="checking", label="ApplicationComplete"),
        Line(start="applied", end="applied", label="DocumentAdded"),
        Line(start="applied", end="refused", label="after 30 days", kind=LineKind.TIMER),
        Line(start="!begin checking", end="scoring"),
        Line(start="scoring", end="scored", label="Scored [is solvent] / notify, with a long text behind it"),
        Line(start="fraud", end="known", label="Identified"),
        Line(start="checking", end="agreed", label="when both are done"),
        Line(start="checking", end="refused", label="Rejected"),
    ],
    groups=[
        Group(id="checking", label="checking", kind=GroupKind.STATE, detail=["on entry: StartChecks"]),
        Group(id="credit", label="credit", kind=GroupKind.REGION, parent="checking"),
        Group(id="identity", label="identity", kind=GroupKind.REGION, parent="checking"),
    ],
)
MARKED = Picture(
    title="marks",
    nodes=[
        Shape(
            id=mark,
            label=mark.value,
            kind=ShapeKind.STEP,
            mark=mark,
            parts=[Part(label="back", kind=PartKind.UNDO, mark=mark)],
        )
        for mark in Mark
    ],
    legend=list(Mark),
)
EVERY_KIND = Picture(
    title="kinds",
    nodes=[
        Shape(id=f"{kind}", label=kind.value, kind=kind, detail=["one line", "another one"], is_optional=optional)
        for kind, optional in zip(ShapeKind, [False, True] * len(ShapeKind), strict=False)
    ],
)
