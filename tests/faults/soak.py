"""The long test: every fault there is, at random, for as long as one likes, while commands come and are counted.

``python -m tests.faults.soak [minutes] [seed]``. The seed decides which faults come when, and whom they meet. It ends
with what was counted, and with 0 only if nothing was lost, done twice, out of order, committed too early or
dead-lettered by mistake, and no process ended by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from orchestra.testing.kafka_cluster import KafkaCluster
from tests.faults.member import Member
from tests.faults.site import SESSION_SECONDS, Site

MEMBERS = 4
ACCOUNTS = 200
RATE = 100.0
"""Commands a second."""
PLANS: tuple[dict[str, Any], ...] = ({}, {"delay": 0.02}, {"delay": 0.2}, {"in_flight": 500})
SETTLE_SECONDS = 180.0


class Soak:
    """One long test on one site."""

    def __init__(self, site: Site, seed: int, minutes: float) -> None:
        self.site = site
        self.seed = seed
        self.seconds = minutes * 60
        self.faults: Counter[str] = Counter()
        self.now_broken: list[str] = []
        self.failed: list[str] = []
        """Processes that ended, and nobody knows why."""
        self.deaths = 0
        """Processes that a record has killed."""
        self.members: list[Member] = []
        self._unharmed: list[Member] = []
        self._brokers = asyncio.Lock()
        self._dependency = asyncio.Lock()
        self._crash = asyncio.Lock()
        self._began = time.monotonic()
        self._is_over = False
        self._number = 0

    async def run(self) -> None:
        for _ in range(MEMBERS):
            await self._start_member()
        for member in self.members:
            await member.running()
        self._began = time.monotonic()
        schedule = Random(self.seed)
        async with asyncio.TaskGroup() as tasks:
            progress = tasks.create_task(self._progress())
            crew = tasks.create_task(self._crew())
            async with self.site.producing(RATE, accounts=ACCOUNTS), asyncio.TaskGroup() as faults:
                while (left := self._began + self.seconds - time.monotonic()) > 0:
                    await asyncio.sleep(min(left, schedule.uniform(0.5, 5)))
                    faults.create_task(self._fault(Random(schedule.random())))
            self._is_over = True
            print("faults are over: waiting until everything is done", flush=True)
            await self.site.at_rest(SETTLE_SECONDS)
            progress.cancel()
            crew.cancel()

    # ---- members

    async def _start_member(self) -> None:
        plan = PLANS[len(self.site.members) % len(PLANS)]
        member = await self.site.begin(timeout="6s", order="divert_key", **plan)
        self.members.append(member)
        self._unharmed.append(member)

    async def _crew(self) -> None:
        """Who has ended is followed by another, as a platform does it."""
        while True:
            for member in [each for each in self.members if not each.is_alive]:
                if member.has_failed and self._crash.locked():
                    member.dies()
                    self.deaths += 1
                elif member.has_failed and member.found_no_broker and self._brokers.locked():
                    member.dies()
                elif member.has_failed:
                    member.dies()
                    self.failed.append(f"{member.log.name} ended by itself:\n{member.last_words()}")
                self.members.remove(member)
                with contextlib.suppress(ValueError):
                    self._unharmed.remove(member)
                await self._start_member()
            await asyncio.sleep(0.5)

    # ---- faults

    async def _fault(self, chance: Random) -> None:
        """One fault. What it draws, it draws from its own chance: so a seed repeats kinds, times and durations, however
        long each of them takes."""
        kinds: dict[str, tuple[int, Callable[[Random], Awaitable[bool]]]] = {
            "member killed": (6, self._kill),
            "member stopped and woken": (4, self._freeze),
            "member asked to end": (5, self._terminate),
            "member asked twice": (2, self._terminate_twice),
            "broker killed": (2, self._kill_broker),
            "leader moved": (2, self._move_leader),
            "broker hangs": (2, self._freeze_broker),
            "all brokers away": (1, self._outage),
            "dependency down": (3, self._break_dependency),
            "poison": (4, lambda _: self._command("poison")),
            "handler that clings": (2, lambda _: self._command("cling")),
            "handler that takes long": (4, lambda _: self._command("linger")),
            "handler that stumbles": (4, lambda _: self._command("stumble")),
            "record that kills its process": (1, self._crash_loop),
        }
        name = chance.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        self.now_broken.append(name)
        try:
            if await kinds[name][1](chance):
                self.faults[name] += 1
        finally:
            self.now_broken.remove(name)

    def _victim(self, chance: Random) -> Member | None:
        """A member that nothing happens to yet; one at least is always left alone.

        Nobody, while a record kills its processes: whoever is killed then, at the moment when a suspect runs alone,
        speaks against the wrong one.
        """
        alive = [member for member in self._unharmed if member.is_alive]
        if len(alive) < 2 or self._crash.locked():
            return None
        victim = chance.choice(alive)
        self._unharmed.remove(victim)
        return victim

    async def _kill(self, chance: Random) -> bool:
        if (member := self._victim(chance)) is None:
            return False
        member.kill()
        return True

    async def _freeze(self, chance: Random) -> bool:
        if (member := self._victim(chance)) is None:
            return False
        seconds = chance.choice((1.0, 2.5 * SESSION_SECONDS))
        await asyncio.to_thread(self.site.pause, member)
        await asyncio.sleep(seconds)
        member.resume()
        self._unharmed.append(member)
        return True

    async def _terminate(self, chance: Random) -> bool:
        if (member := self._victim(chance)) is None:
            return False
        await self._ends_in_time(member, self.site.settings.drain_timeout + 4 * self.site.settings.request_timeout)
        return True

    async def _terminate_twice(self, chance: Random) -> bool:
        if (member := self._victim(chance)) is None:
            return False
        member.terminate()
        await asyncio.sleep(0.3)
        await self._ends_in_time(member, 3 * self.site.settings.request_timeout)
        return True

    async def _ends_in_time(self, member: Member, seconds: float) -> None:
        try:
            await member.stop(seconds)
        except TimeoutError:
            self.failed.append(f"{member.log.name} had not ended {seconds:.0f} s after it was asked to")
            member.kill()

    async def _kill_broker(self, chance: Random) -> bool:
        return await self._without_a_broker(signal.SIGKILL, chance)

    async def _move_leader(self, chance: Random) -> bool:
        return await self._without_a_broker(signal.SIGTERM, chance)

    async def _without_a_broker(self, how: signal.Signals, chance: Random) -> bool:
        node, seconds = chance.choice(self.site.cluster.nodes).id, chance.uniform(0, 10)
        if self._brokers.locked() or self._is_over:
            return False
        async with self._brokers:
            process = self.site.cluster.process(node)
            assert process is not None
            process.send(how)
            while process.is_alive():
                await asyncio.sleep(0.1)
            await asyncio.sleep(seconds)
            await self._bring_back()
        return True

    async def _freeze_broker(self, chance: Random) -> bool:
        node, seconds = chance.choice(self.site.cluster.nodes).id, chance.uniform(2, 12)
        if self._brokers.locked():
            return False
        async with self._brokers:
            self.site.cluster.pause(node)
            await asyncio.sleep(seconds)
            self.site.cluster.resume(node)
            await asyncio.to_thread(self.site.cluster.wait_ready)
        return True

    async def _outage(self, chance: Random) -> bool:
        seconds = chance.uniform(2, 20)
        if self._brokers.locked():
            return False
        async with self._brokers:
            for node in self.site.cluster.nodes:
                await asyncio.to_thread(self.site.cluster.kill, node.id)
            await asyncio.sleep(seconds)
            await self._bring_back()
        return True

    async def _bring_back(self) -> None:
        await asyncio.to_thread(self.site.cluster.start_missing)

    async def _break_dependency(self, chance: Random) -> bool:
        seconds = chance.uniform(2, 15)
        if self._dependency.locked():
            return False
        async with self._dependency:
            self.site.break_dependency()
            await asyncio.sleep(seconds)
            self.site.mend_dependency()
        return True

    async def _crash_loop(self, _: Random) -> bool:
        if self._crash.locked() or len(self._unharmed) < MEMBERS:
            return False
        async with self._crash:
            account = await self._disturb("die")
            while (account, 2) not in self.site.ledger.known:  # what comes behind it
                await asyncio.sleep(0.5)
                self.site.ledger.refresh()
        return True

    async def _command(self, do: str) -> bool:
        await self._disturb(do)
        return True

    async def _disturb(self, do: str) -> str:
        self._number += 1  # an account of its own: two producers never number the same one
        account = f"{do}-{self._number}"
        await self.site.send(account, do=do)
        await self.site.send(account)
        return account

    # ---- what is seen

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(5)
            seconds = time.monotonic() - self._began
            sent, counted = sum(self.site.sent.values()), self.site.ledger.count()
            broken = ", ".join(self.now_broken) or "nothing is broken"
            print(
                f"{seconds:5.0f} s  sent {sent}  counted {counted}  faults {self.faults.total()}  ({broken})",
                flush=True,
            )


async def soak(folder: Path, seed: int, minutes: float) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print(f"soak: {minutes:g} minutes, seed {seed}; logs in {folder}", flush=True)
    cluster = await asyncio.to_thread(KafkaCluster.start, folder / "kafka", brokers=3, guarded=True)
    try:
        async with Site(cluster, folder / "site") as site:
            test = Soak(site, seed, minutes)
            try:
                await test.run()
                problems = test.failed + await site.problems()
            except* AssertionError as errors:
                problems = [*test.failed, *map(str, errors.exceptions)]
            report(test, problems)
    finally:
        await asyncio.to_thread(cluster.stop)
    print(f"soak: {'FAILED' if problems else 'passed'}, seed {seed}")
    return 1 if problems else 0


def report(test: Soak, problems: list[str]) -> None:
    site, ledger = test.site, test.site.ledger
    counts = Counter(problem.split(":")[0] for problem in problems)
    rows = {
        "commands produced": sum(site.sent.values()),
        "effects": len(ledger.effects),
        "handlings begun": ledger.begun().total(),
        "repeats that the ledger answered": len(ledger.journal("again")),
        "dead letters expected": len(site.doomed),
        "dead letters missing or too many": counts["dead letter missing"] + counts["dead letter that should not be"],
        "lost": counts["lost"],
        "done twice": counts["counted twice"],
        "order violations": counts["out of order"],
        "committed before done": counts["committed before it was done"],
        "processes started": len(site.members),
        "processes that a record has killed": test.deaths,
        "processes that ended by themselves": len(test.failed),
        "faults": test.faults.total(),
        **{f"  {name}": count for name, count in sorted(test.faults.items())},
    }
    for name, count in rows.items():
        print(f"{name:36} {count:8}")
    for problem in problems[:20]:
        print(f"PROBLEM  {problem}")


def main(arguments: list[str]) -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that brokers are away is no news here
    minutes = float(arguments[0]) if arguments else 10.0
    seed = int(arguments[1]) if len(arguments) > 1 else Random().randrange(1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="orchestra-soak-"))
    code = asyncio.run(soak(folder, seed, minutes))
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
