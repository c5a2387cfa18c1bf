"""How far is an instance? Its steps drawn over the picture of its definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestra.flows.decision import StepView
from orchestra.flows.flow_picture import COMPENSATED, COMPLETED, START
from orchestra.flows.picture import Group, Mark, Part, Picture, Shape, ShapeKind

_MARKS: Mapping[str, Mark] = {
    "running": Mark.RUNNING, "backing-off": Mark.RUNNING, "active": Mark.RUNNING,
    "done": Mark.DONE, "resolved": Mark.DONE,
    "rejected": Mark.FAILED, "refused": Mark.FAILED, "unknown": Mark.FAILED, "timed-out": Mark.FAILED,
    "failed": Mark.FAILED, "stuck": Mark.FAILED,
    "omitted": Mark.SKIPPED, "cancelled": Mark.SKIPPED, "skipped": Mark.SKIPPED,
}  # fmt: skip
_LEGEND = (Mark.DONE, Mark.RUNNING, Mark.FAILED, Mark.UNDONE, Mark.SKIPPED, Mark.NOT_REACHED)


def marked(picture: Picture, steps: Sequence[StepView], *, instance: str, status: str) -> Picture:
    """The picture with a mark on each shape, and a legend.

    Args:
        picture: of the definition.
        steps: of the instance, as ``Definition.steps`` gives them.
        instance: its id, for the title.
        status: of the instance: "running", "completed", ...
    """
    views = {step.name: step for step in steps}
    undone = {
        step.kind.removeprefix("undo of ") for step in steps if step.kind.startswith("undo of ") and _is_over(step)
    }
    nodes = [_marked(shape, views, undone, status) for shape in picture.nodes]
    groups = [_marked_group(group, views) for group in picture.groups]
    seen = {shape.mark for shape in nodes}
    legend = [mark for mark in _LEGEND if mark is not Mark.SKIPPED or mark in seen]
    return replace(
        picture,
        title=f"{instance}: {status}",
        subtitle=picture.title,
        nodes=nodes,
        groups=groups,
        legend=legend,
        notes=(),
    )


def _is_over(step: StepView) -> bool:
    return step.status in ("done", "resolved", "skipped")


def _marked(shape: Shape, views: Mapping[str, StepView], undone: set[str], status: str) -> Shape:
    mark = Mark.UNDONE if shape.id in undone else _mark_of(shape, views, status)
    view = views.get(shape.id)
    told = [] if view is None else list(_told(shape, view, mark))
    parts = [_marked_part(part, views) for part in shape.parts]
    caption = "failed" if shape.id == COMPENSATED else shape.caption
    return replace(shape, mark=mark, parts=parts, detail=(*shape.detail, *told), caption=caption)


def _told(shape: Shape, view: StepView, mark: Mark) -> Iterator[str]:
    """What a person wants to know of a step that is not simply done."""
    if shape.kind not in (ShapeKind.FOR_EACH, ShapeKind.REPEAT):
        if view.attempts > 1:
            yield f"try {view.attempts}"
    elif mark is Mark.RUNNING and view.note:
        yield view.note
    if mark is Mark.FAILED and view.note:
        yield view.note


def _mark_of(shape: Shape, views: Mapping[str, StepView], status: str) -> Mark:
    if shape.id == COMPLETED:
        return Mark.DONE if status == "completed" else Mark.NOT_REACHED
    if shape.id == COMPENSATED:
        return Mark.UNDONE if status == "compensated" else Mark.NOT_REACHED
    if shape.id == START:
        return Mark.DONE
    if shape.kind is ShapeKind.INITIAL:
        is_reached = _mark_of_view(views.get(shape.group or "")) is not Mark.NOT_REACHED
        return Mark.DONE if is_reached else Mark.NOT_REACHED
    mark = _mark_of_view(views.get(shape.id))
    return Mark.FAILED if shape.kind is ShapeKind.BAD_END and mark is Mark.DONE else mark


def _mark_of_view(view: StepView | None) -> Mark:
    if view is None:
        return Mark.NOT_REACHED
    if view.status == "waiting" and view.started_at is not None:
        return Mark.RUNNING  # it waits for an event or a person; what has not begun is "waiting" too
    return _MARKS.get(view.status, Mark.NOT_REACHED)


def _marked_part(part: Part, views: Mapping[str, StepView]) -> Part:
    view = views.get(part.name or "")
    return part if view is None else replace(part, mark=_mark_of_view(view))


def _marked_group(group: Group, views: Mapping[str, StepView]) -> Group:
    mark = _mark_of_view(views.get(group.id))
    return group if mark is Mark.NOT_REACHED else replace(group, mark=mark)
