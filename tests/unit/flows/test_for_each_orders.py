"""A for_each in orders that nobody thought of: outcomes, repeats, contradictions, time; and what must hold."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Message, StepFailed, StepRefused
from orchestra.flows.decision import Outcome, Status, TimerFired
from orchestra.flows.saga import Flow
from tests.unit.flows.packing import (
    Broken,
    Ordered,
    Packed,
    PackLine,
    Reserved,
    Shipment,
    Tolerant,
    Unpacked,
    UnpackLine,
)
from tests.unit.flows.play import Play

LIMIT = 2
SEEDS = 60
ITEMS = 6


class Walk:
    """Services that answer as they please, sometimes twice, and remember what they did."""

    def __init__(self, seed: int, flow: type[Flow]) -> None:
        self.random = Random(seed)
        self.play = Play(flow, Ordered(id="A", skus=[str(number) for number in range(ITEMS)]))
        self.done: dict[str, bool] = {}  # sku -> whether it is packed
        self.answers: list[Outcome] = []  # that may come again
        self.answered: set[str] = set()  # ids of commands
        self.trouble = self.random.random() < 0.8

    def go(self) -> None:
        for _ in range(2000):
            if self.play.status.is_final:
                return
            self.look()
            self.step()
        pytest.fail(f"it never ends: {self.play.definition.waits_for(self.play.last.state)}")

    def look(self) -> None:
        """At most so many items are under way, and the record holds no more."""
        nodes: Any = self.play.last.state["nodes"]
        assert len(nodes.get("pack", {}).get("l", {})) <= LIMIT
        waits = self.play.definition.waits_for(self.play.last.state)
        assert waits, "it waits for nothing"

    def step(self) -> None:
        roll = self.random.random()
        open_commands = [one.event for one in self.play.sent if one.kind == "command" and self.is_open(one.event)]
        if roll < 0.7 and open_commands:
            self.serve(self.random.choice(open_commands))
        elif roll < 0.8 and self.answers:
            self.play.give(self.random.choice(self.answers))
        elif roll < 0.81 and self.trouble:
            self.play.operate("cancel")
        elif roll < 0.83 and self.play.status is Status.STUCK:
            self.play.operate("retry")
        elif self.play.last.timers and (self.trouble or not open_commands):
            timer = self.random.choice(self.play.last.timers)
            self.play.now = max(self.play.now, timer.due or self.play.now)
            self.play.give(TimerFired(timer.name, timer.generation))

    def is_open(self, command: Envelope) -> bool:
        return command.id not in self.answered

    def serve(self, command: Envelope) -> None:
        self.answered.add(command.id)
        effect = command.get("effectid") or ""
        event = compose(
            self.answer(command), id=f"r-{command.id}", source="/s", time=self.play.now,
            extensions={"effectid": effect, "causationid": command.id},
        )  # fmt: skip
        self.answers.append(Outcome(effect, event))
        self.play.give(self.answers[-1])

    def answer(self, command: Envelope) -> Message:
        data = json.loads(command.data or b"{}")
        if command.type == "packing.pack.v1":
            return self.pack(PackLine(**data))
        if command.type == "packing.unpack.v1":
            if self.trouble and self.random.random() < 0.05:
                return StepFailed(dead_letter_id="dl", reason="PERMANENT")
            self.done[UnpackLine(**data).sku] = False
            return Unpacked(sku=data["sku"])
        return Reserved(id="A", shelf=1)

    def pack(self, command: PackLine) -> Message:
        """A ledger: what is done stays done for this effect; and what was undone first is barred."""
        if command.sku in self.done:
            return Packed(sku=command.sku, box=1) if self.done[command.sku] else StepRefused(reason="barred")
        roll = self.random.random() if self.trouble else 1.0
        if roll < 0.08:
            return Broken(sku=command.sku)
        if roll < 0.12:
            return StepFailed(dead_letter_id="dl", reason="PERMANENT")
        if roll < 0.16:
            return StepRefused(reason="expired")
        self.done[command.sku] = True
        return Packed(sku=command.sku, box=1)


@pytest.mark.parametrize(("flow", "tolerated"), [(Shipment, 0), (Tolerant, 1)])
def test_in_whatever_order_it_ends_with_all_or_nothing(flow: type[Flow], tolerated: int) -> None:
    ends = set()
    for seed in range(SEEDS):
        walk = Walk(seed, flow)
        try:
            walk.go()
        except BaseException as error:
            error.add_note(f"seed {seed}: {[line.what for line in walk.play.journal][-30:]}")
            raise
        ends.add(walk.play.status)
        packed = sorted(sku for sku, is_packed in walk.done.items() if is_packed)
        if walk.play.status is Status.COMPLETED:
            assert len(packed) >= ITEMS - tolerated, f"seed {seed}"
        else:
            assert packed == [], f"seed {seed}: {packed} stay packed"
        late = [one for one in walk.play.sent if one.kind == "command" and walk.is_open(one.event)]
        for one in late:  # answers that come when all is over
            walk.serve(one.event)
    assert ends == {Status.COMPLETED, Status.COMPENSATED}
