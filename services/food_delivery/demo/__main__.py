"""``make demo``: a few hundred food orders on a real Kafka, with processes killed on the way, reconciled at the end.

Environment: see ``services/demo_kit/play.py``. Here processes are killed also without ``KILL=1``; ``DEMO_KILLS=0``
spares them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from services.demo_kit.play import play
from services.demo_kit.progress import follow
from services.demo_kit.reconcile import Books, Finding, dead_letters, settle
from services.demo_kit.stage import Stage
from services.food_delivery.demo.reconcile import DEAD_LETTERS, malformed, reconcile
from services.food_delivery.demo.submit import PLACED, Submission, submit

APP = "services.food_delivery.app"
ORDERS = Path(__file__).parent.parent / "orders.jsonl"


async def demo(stage: Stage) -> list[Finding]:
    lines = ORDERS.read_text().splitlines()
    rate = stage.rate(20)
    progress = stage.progress

    def note(submission: Submission) -> None:
        progress.begin(submission.order_id if submission.kind == PLACED else None)

    async with stage.crew(APP, ["orders", "inventory", "payments", "dispatch"], coordinator="food") as crew:
        stage.say(f"submitting {len(lines)} records, {rate:.0f} a second\n")
        await stage.show(
            crew,
            len(lines),
            submit(stage.servers, lines, rate, note),
            follow(stage.servers, ["food.journal"], progress.take_journal),
        )
        findings = await settle(lambda: reconcile(Books(stage.data), set(progress.begun_at)))
        waiting = await stage.instances_waiting(f"{APP}:food")
        letters = await dead_letters(stage.servers, DEAD_LETTERS)
    for letter in letters:
        stage.console.print(f"dead letter in {letter.topic}: {letter.reason}: {letter.message}", markup=False)
    return [*findings, Finding("instances left waiting", 0, waiting), malformed(letters)]


if __name__ == "__main__":
    sys.exit(play("food delivery", demo, kill=True))
