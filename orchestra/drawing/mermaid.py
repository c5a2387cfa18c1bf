"""How is a picture written as Mermaid? Text that GitHub, GitLab and editors draw."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestra.drawing.look import GROUPS, LOOKS, MARKS, Colours, Outline, caption_of, outline_of, part_text
from orchestra.flows.picture import Group, Line, LineKind, Mark, Picture, Shape, ShapeKind

_OUTLINES = {
    Outline.BOX: ("[", "]"),
    Outline.DASHED: ("[", "]"),
    Outline.PILL: ("([", "])"),
    Outline.HEXAGON: ("{{", "}}"),
    Outline.DOUBLE: ("[[", "]]"),
    Outline.DOT: ("((", "))"),
}
_ARROWS = {
    LineKind.NEXT: "-->",
    LineKind.AFTER: "-->",
    LineKind.UNDO: "-.->",
    LineKind.TIMER: "-.->",
    LineKind.TROUBLE: "==>",
}
_ESCAPES = {ord(character): f"#{ord(character)};" for character in '&"<>#;`'}


def mermaid(picture: Picture) -> str:
    """The picture as a Mermaid flowchart."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield from ("---", f"title: {_quoted(picture.title)}", "---")
    yield f"flowchart {'LR' if picture.is_wide else 'TD'}"
    names = _names(picture)
    for line in _within(picture, None, names):
        yield f"    {line}"
    for edge in picture.edges:
        yield f"    {_edge(edge, names)}"
    if picture.legend:
        yield from (f"    {line}" for line in _legend(picture))
    yield from (f"    {line}" for line in _styles(picture))


def _names(picture: Picture) -> dict[str, str]:
    """An id of Mermaid's for each of ours. Never the bare name: "end", "graph" and others are words of its own."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for one in (*(shape.id for shape in picture.nodes), *(group.id for group in picture.groups)):
        plain = "n_" + re.sub(r"\W", "_", one.strip("!"))
        name = plain
        while name in taken:
            name = f"{plain}_{len(taken)}"
        taken.add(name)
        found[one] = name
    return found


def _within(picture: Picture, group: str | None, names: dict[str, str]) -> Iterator[str]:
    for shape in picture.nodes:
        if shape.group == group:
            opening, closing = _OUTLINES[outline_of(shape)]
            yield f'{names[shape.id]}{opening}"{_label(shape)}"{closing}:::{_class_of(shape)}'
    for inner in picture.groups:
        if inner.parent == group:
            yield f'subgraph {names[inner.id]}["{_group_label(inner)}"]'
            yield from (f"    {line}" for line in _within(picture, inner.id, names))
            yield "end"


def _label(shape: Shape) -> str:
    lines = [f"<small>{_safe(caption)}</small>"] if (caption := caption_of(shape)) else []
    if shape.label:
        lines.append(f"<b>{_safe(shape.label)}</b>")
    lines += [_safe(detail) for detail in shape.detail]
    lines += [f"<i>{_safe(part_text(part))}</i>" for part in shape.parts]
    return "<br/>".join(lines) or " "


def _group_label(group: Group) -> str:
    return _safe(" · ".join((group.label, *group.detail))) or " "  # Mermaid makes room for one line


def _edge(line: Line, names: dict[str, str]) -> str:
    label = f'|"{_safe(line.label)}"|' if line.label else ""
    return f"{names[line.start]} {_ARROWS[line.kind]}{label} {names[line.end]}"


def _class_of(shape: Shape) -> str:
    return _mark_class(shape.mark) if shape.mark is not None else _kind_class(shape)


def _kind_class(shape: Shape) -> str:
    optional = "_optional" if outline_of(shape) is Outline.DASHED else ""
    return f"k_{shape.kind.replace('-', '_')}{optional}"


def _mark_class(mark: Mark) -> str:
    return f"m_{mark.replace(' ', '_')}"


def _legend(picture: Picture) -> Iterator[str]:
    yield 'subgraph legend["what the colours mean"]'
    yield "    direction LR"
    for mark in picture.legend:
        yield f'    legend{_mark_class(mark)}["{mark}"]:::{_mark_class(mark)}'
    yield "    " + " ~~~ ".join(f"legend{_mark_class(mark)}" for mark in picture.legend)
    yield "end"
    yield "style legend fill:#ffffff,stroke:#cbd5e1"


def _styles(picture: Picture) -> Iterator[str]:
    used: dict[str, str] = {}
    for shape in picture.nodes:
        if shape.mark is None:
            style = _style(LOOKS[shape.kind].colours, width=3 if shape.kind is ShapeKind.PIVOT else 1)
            used[_kind_class(shape)] = style + (",stroke-dasharray:6 4" if outline_of(shape) is Outline.DASHED else "")
    for mark in {*(shape.mark for shape in picture.nodes if shape.mark), *picture.legend}:
        used[_mark_class(mark)] = _style(MARKS[mark])
    for name, style in sorted(used.items()):
        yield f"classDef {name} {style}"
    names = _names(picture)
    for group in picture.groups:
        colours, dashes = GROUPS[group.kind]
        if group.mark is not None:
            colours = MARKS[group.mark]._replace(fill=colours.fill)
        yield f"style {names[group.id]} {_style(colours)}" + (f",stroke-dasharray:{dashes}" if dashes else "")


def _style(colours: Colours, width: int = 1) -> str:
    return f"fill:{colours.fill},stroke:{colours.stroke},color:{colours.text},stroke-width:{width}px"


def _safe(text: str) -> str:
    """Text that neither Mermaid nor the browser takes for something else."""
    return text.translate(_ESCAPES)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
