"""User registration: three services react to each user, and a repeated event changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orchestra
from orchestra.app import App
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor
from orchestra.testing.memory import published, running_in_memory
from orchestra.units import units_of
from services.demo_kit.reconcile import Books
from services.user_registration.analytics import analytics
from services.user_registration.app import app
from services.user_registration.demo import reconcile
from services.user_registration.mail import mail
from services.user_registration.make_users import USERS, lines
from services.user_registration.messages import OnboardingTaskCreated, UserRegistered, WelcomeMailSent
from services.user_registration.onboarding import onboarding
from tests.unit.services.conftest import until

SOME = [UserRegistered.model_validate_json(line) for line in USERS.read_text().splitlines()[:30]]


def test_the_checked_in_users_are_the_generated_ones() -> None:
    assert USERS.read_text().splitlines() == lines(300, seed=5)


async def test_everybody_is_welcomed_called_and_counted_once(data: Path) -> None:
    books = Books(data)
    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        for user in [*SOME, *SOME[:5]]:
            await bus.publish(user, id=user.user_id)
        await until(lambda: all(finding.holds for finding in reconcile(books, SOME)))

    assert [finding for finding in reconcile(books, SOME) if not finding.holds] == []


async def test_one_that_is_down_keeps_nobody_waiting_and_catches_up(data: Path) -> None:
    settings = Settings(env="test")
    async with running_in_memory(onboarding, analytics) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*SOME)
        await until(lambda: len(published(log, OnboardingTaskCreated)) == len(SOME))
        assert published(log, WelcomeMailSent) == []

        supervisor = Supervisor(units_of(App(services=[mail]), log, settings), log, settings)
        running = asyncio.create_task(supervisor.run())
        try:
            await until(lambda: len(published(log, WelcomeMailSent)) == len(SOME))
            await until(lambda: all(finding.holds for finding in reconcile(Books(data), SOME)))
        finally:
            supervisor.stop()
            await running
