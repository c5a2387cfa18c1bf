"""How is a picture written as DOT? For whoever lays it out with Graphviz themselves."""

from __future__ import annotations

import html
from collections.abc import Iterator

from orchestra.drawing.look import (
    GROUPS,
    LINES,
    MARKS,
    Outline,
    caption_of,
    colours_of,
    outline_of,
    part_colours,
    part_text,
    wrapped,
)
from orchestra.flows.picture import Group, Line, Mark, Picture, Shape

_OUTLINES = {
    Outline.BOX: 'shape=box, style="rounded,filled"',
    Outline.DASHED: 'shape=box, style="rounded,filled,dashed"',
    Outline.PILL: 'shape=box, style="rounded,filled", margin="0.25,0.1"',
    Outline.HEXAGON: "shape=hexagon, style=filled, penwidth=2.5, margin=0",
    Outline.DOUBLE: 'shape=box, style="rounded,filled", peripheries=2',
    Outline.DOT: 'shape=circle, style=filled, width=0.2, fixedsize=true, label=""',
}


def dot(picture: Picture) -> str:
    """The picture as a DOT digraph: ``dot -Tsvg`` draws it."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    title = [f"<B>{_safe(picture.title)}</B>", *map(_safe, wrapped(picture.subtitle, 80)), ""]
    yield f"digraph {_quoted(picture.title)} {{"
    yield f"    graph [rankdir={'LR' if picture.is_wide else 'TB'}, compound=true, labelloc=t, labeljust=l, "
    yield f'        fontname="Helvetica", nodesep=0.4, ranksep=0.5, label=<{_left(title)}>];'
    yield '    node [fontname="Helvetica", fontsize=12];'
    yield '    edge [fontname="Helvetica", fontsize=10];'
    plan = _Plan(picture)
    yield from (f"    {line}" for line in plan.within(None))
    yield from (f"    {plan.edge(line)}" for line in picture.edges)
    if picture.legend:
        yield from (f"    {line}" for line in _legend(picture))
    yield "}"


class _Plan:
    """Names of things in DOT."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._clusters = {group.id: f"cluster_{group.id}" for group in picture.groups}

    def within(self, group: str | None) -> Iterator[str]:
        for shape in self._picture.nodes:
            if shape.group == group:
                yield f"{_quoted(shape.id)} [{_attributes(shape)}];"
        for inner in self._picture.groups:
            if inner.parent == group and self._inside(inner.id):
                yield f"subgraph {_quoted(self._clusters[inner.id])} {{"
                yield f"    {_frame(inner)}"
                yield from (f"    {line}" for line in self.within(inner.id))
                yield "}"

    def edge(self, line: Line) -> str:
        colour, dashes = LINES[line.kind]
        told = [f'color="{colour}"', f'fontcolor="{colour}"', "arrowsize=0.8"]
        if dashes:
            told.append("style=dotted" if dashes.startswith("2") else "style=dashed")
        if line.label:
            told.append(f"label={_quoted(chr(10).join(wrapped(line.label, 30)))}")
        tail, head = line.start, line.end
        if tail in self._clusters:
            told.append(f"ltail={_quoted(self._clusters[tail])}")
            tail = self._inside(tail)[-1]
        if head in self._clusters:
            told.append(f"lhead={_quoted(self._clusters[head])}")
            head = self._inside(head)[0]
        return f"{_quoted(tail)} -> {_quoted(head)} [{', '.join(told)}];"

    def _inside(self, group: str) -> list[str]:
        found = [shape.id for shape in self._picture.nodes if shape.group == group]
        for inner in self._picture.groups:
            if inner.parent == group:
                found += self._inside(inner.id)
        return found


def _attributes(shape: Shape) -> str:
    outline, colours = outline_of(shape), colours_of(shape)
    told = [_OUTLINES[outline], f'fillcolor="{colours.fill}"', f'color="{colours.stroke}"']
    if outline is not Outline.DOT:
        told += [f'fontcolor="{colours.text}"', f"label=<{_label(shape)}>"]
    return ", ".join(told)


def _label(shape: Shape) -> str:
    colours = colours_of(shape)
    rows: list[str] = []
    if caption := caption_of(shape):
        rows.append(f'<FONT POINT-SIZE="9" COLOR="{colours.stroke}">{_safe(caption)}</FONT>')
    rows += [f'<FONT POINT-SIZE="13"><B>{_safe(line)}</B></FONT>' for line in wrapped(shape.label, 40)]
    rows += [f'<FONT POINT-SIZE="11">{_safe(line)}</FONT>' for detail in shape.detail for line in wrapped(detail, 40)]
    cells = [f"<TR><TD>{row}</TD></TR>" for row in rows]
    for part in shape.parts:
        foot = part_colours(part)
        cells.append(
            f'<TR><TD BGCOLOR="{foot.fill}" COLOR="{foot.stroke}" BORDER="1" SIDES="T" CELLPADDING="3">'
            f'<FONT POINT-SIZE="10" COLOR="{foot.text}">{_safe(part_text(part))}</FONT></TD></TR>'
        )
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{"".join(cells)}</TABLE>'


def _frame(group: Group) -> str:
    colours, dashes = GROUPS[group.kind]
    if group.mark is not None:
        colours = MARKS[group.mark]._replace(fill=colours.fill)
    label = [f"<B>{_safe(group.label)}</B>", *map(_safe, group.detail)] if group.label else [""]
    style = '"rounded,filled,dashed"' if dashes else '"rounded,filled"'
    return (
        f'style={style}; fillcolor="{colours.fill}"; color="{colours.stroke}"; fontcolor="{colours.text}"; '
        f"fontsize=12; margin=14; labeljust=l; label=<{_left(label)}>;"
    )


def _legend(picture: Picture) -> Iterator[str]:
    yield 'subgraph "cluster legend" { label="what the colours mean"; style=rounded; color="#cbd5e1"; fontsize=10;'
    for mark in picture.legend:
        yield f"    {_quoted(f'legend {mark}')} [{_key(mark)}];"
    yield "}"


def _key(mark: Mark) -> str:
    colours = MARKS[mark]
    look = f'fillcolor="{colours.fill}", color="{colours.stroke}", fontcolor="{colours.text}"'
    return f'shape=box, style="rounded,filled", fontsize=10, height=0.3, {look}, label="{mark}"'


def _left(lines: list[str]) -> str:
    return "".join(f'{line}<BR ALIGN="LEFT"/>' for line in lines)


def _safe(text: str) -> str:
    return html.escape(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
