"""The demos' kit: who is killed and when, how far things are, whether they add up."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
from pathlib import Path
from typing import cast

import pytest
from aiokafka import ConsumerRecord

from services.demo_kit import processes
from services.demo_kit.kills import Kills
from services.demo_kit.pace import at_pace
from services.demo_kit.processes import Crew, Member
from services.demo_kit.progress import Progress, screen
from services.demo_kit.reconcile import Books, Finding, settle, table


def points(count: int, seed: int) -> list[int]:
    kills = Kills(count, 100, random.Random(seed))
    return list(kills._points)


def test_kills_are_in_the_middle_and_the_same_for_the_same_seed() -> None:
    assert points(3, seed=1) == points(3, seed=1) != points(3, seed=2)
    assert all(20 <= point < 80 for point in points(3, seed=1))
    assert points(0, seed=1) == []


def entry(instance: str, status: str) -> ConsumerRecord[bytes, bytes]:
    class Record:
        value = json.dumps({"instance": instance, "status": status}).encode()

    return cast("ConsumerRecord[bytes, bytes]", Record())


def test_an_instance_that_halted_and_was_retried_runs_again() -> None:
    progress = Progress()
    progress.begin("a")
    progress.begin("a")
    progress.begin(None)
    assert (progress.records, progress.running) == (3, 1)

    progress.take_journal(entry("flow/a", "halted"))
    assert (progress.running, progress.those("halted")) == (0, {"a"})

    progress.take_journal(entry("flow/a", "running"))
    assert progress.running == 1

    progress.take_journal(entry("flow/a", "completed"))
    assert len(progress.latencies("completed")) == 1


def test_a_difference_is_marked() -> None:
    assert Finding("cents", 1, 1).holds
    assert not Finding("cents", 1, 2).holds
    assert table([Finding("cents", 1, 2)]).row_count == 1


async def test_what_settles_in_time_holds(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "bank.db")
    connection.executescript("create table postings (cents); insert into postings values (1)")
    books = Books(tmp_path)

    def look() -> list[Finding]:
        return [Finding("cents", 3, books.number("bank", "select sum(cents) from postings"))]

    [too_early] = await settle(look, within=0.0)
    assert not too_early.holds
    connection.executescript("insert into postings values (2)")
    [now] = await settle(look)
    assert now.holds


@pytest.mark.virtual_time
async def test_a_slow_item_is_caught_up_with() -> None:
    assert [item async for item in at_pace("abc", 1000)] == ["a", "b", "c"]


async def test_a_member_that_is_killed_comes_back_and_one_that_is_stopped_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "orchestra"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(processes, "ORCHESTRA", program)
    monkeypatch.setattr(processes, "RESTART_AFTER", 0.01)
    member = Member("mail", "app:mail", tmp_path / "log", {"PATH": "/usr/bin:/bin"})

    async with asyncio.timeout(10), Crew([member]) as crew:
        await until_runs(member, starts=1)
        crew.kill(member)
        await until_runs(member, starts=2)
        assert screen("title", Progress(), crew, 1).row_count == 1

        await member.stop()
        await asyncio.sleep(0.05)
        assert (member.is_running, member.starts) == (False, 2)

        member.resume()
        await until_runs(member, starts=3)
        await member.upgrade("app:other")
        await until_runs(member, starts=4)
        assert (crew.killed, member.target) == (["mail"], "app:other")
    assert member.process is not None
    assert member.process.returncode == -signal.SIGTERM


async def until_runs(member: Member, starts: int) -> None:
    while not (member.is_running and member.starts == starts):
        await asyncio.sleep(0.005)
