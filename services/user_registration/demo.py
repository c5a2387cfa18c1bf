"""``make demo-user-registration``: three services react to each registration; one is down for a while, and catches up.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import sys
from collections import Counter

from aiokafka import ConsumerRecord

from orchestra import Settings, connect
from services.demo_kit.pace import at_pace
from services.demo_kit.play import play
from services.demo_kit.processes import Crew
from services.demo_kit.progress import Progress, follow
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.user_registration.make_users import USERS
from services.user_registration.messages import UserRegistered

APP = "services.user_registration.app"
REACTIONS = {b"users.welcome-mail.sent.v1": "welcomed", b"users.onboarding-task.created.v1": "to be called"}


async def demo(stage: Stage) -> list[Finding]:
    users = [UserRegistered.model_validate_json(line) for line in USERS.read_text().splitlines()]
    books = Books(stage.data)
    async with stage.crew(APP, ["mail", "onboarding", "analytics"]) as crew:
        stage.say(f"{len(users)} users register; some of the events come twice\n")
        party = Party(stage, crew, books, users)
        await stage.show(
            crew,
            len(party.order_of_events()),
            party.register(),
            follow(stage.servers, ["users.events"], Reactions(stage.progress).take),
        )
        findings = await settle(lambda: reconcile(books, users))
    return [*party.meanwhile, *findings]


class Party:
    """Everybody registers; in the middle, mail goes down for a while."""

    def __init__(self, stage: Stage, crew: Crew, books: Books, users: list[UserRegistered]) -> None:
        self.meanwhile: list[Finding] = []
        self._stage, self._crew, self._books, self._users = stage, crew, books, users

    def order_of_events(self) -> list[UserRegistered]:
        """Every 30th event is sent again, with the id that it had."""
        return [user for number, user in enumerate(self._users) for _ in range(2 if number % 30 == 0 else 1)]

    async def register(self) -> None:
        events = self.order_of_events()
        down, up = len(events) // 3, len(events) * 2 // 3
        before = 0, 0
        number = 0
        async with connect(Settings(bootstrap_servers=self._stage.servers), name="portal") as bus:
            async for user in at_pace(events, self._stage.rate(15)):
                if number == down:
                    await self._crew["mail"].stop()
                    self._stage.say("mail is down")
                    before = self._sent(), self._created()
                if number == up:
                    sent, created = self._sent() - before[0], self._created() - before[1]
                    went_on = created > 0 or bool(self._stage.killed)  # a kill may have hit onboarding
                    self.meanwhile = [
                        Finding("while mail was down: letters sent", 0, sent),
                        Finding("while mail was down: onboarding went on", 1, int(went_on)),
                    ]
                    self._stage.say(f"mail comes back; meanwhile {created} tasks were created, and {sent} letters sent")
                    self._crew["mail"].resume()
                number += 1
                self._stage.progress.begin(user.user_id)
                await bus.publish(user, id=user.user_id)

    def _sent(self) -> int:
        return self._books.number("mail", "select count(*) from letters")

    def _created(self) -> int:
        return self._books.number("onboarding", "select count(*) from tasks")


class Reactions:
    """What the events say: a user's registration is over when both have reacted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._seen: dict[str, set[str]] = {}

    def take(self, record: ConsumerRecord[bytes, bytes]) -> None:
        user = (record.key or b"").decode()
        seen = self._seen.setdefault(user, set())
        if (reaction := REACTIONS.get(dict(record.headers).get("ce_type", b""))) is not None:
            seen.add(reaction)
        where = " and ".join(sorted(seen, reverse=True)) or "registered"
        self._progress.stand(user, where, ended=len(seen) == len(REACTIONS))


def reconcile(books: Books, users: list[UserRegistered]) -> list[Finding]:
    """Everybody has one letter and one task, and analytics has counted all of it, once."""
    findings: list[Finding] = []
    for service, table in (("mail", "letters"), ("onboarding", "tasks")):
        reached = books.names(service, f"select user_id from {table}") & {user.user_id for user in users}
        findings += [
            Finding(f"{service}: users reached", len(users), len(reached)),
            Finding(f"{service}: {table}", len(users), books.number(service, f"select count(*) from {table}")),
        ]
    for country, registered in sorted(Counter(user.country for user in users).items()):
        found = books.number("analytics", f"select sum(count) from counts where country = '{country}'")
        findings.append(Finding(f"analytics: registered in {country}", registered, found))
    for kind in map(bytes.decode, REACTIONS):
        found = books.number("analytics", f"select sum(count) from counts where what = '{kind}'")
        findings.append(Finding(f"analytics: {kind}", len(users), found))
    return findings


if __name__ == "__main__":
    sys.exit(play("user registration", demo))
