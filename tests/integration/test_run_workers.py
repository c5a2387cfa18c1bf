"""Do the worker processes of one ``orchestra run`` live, die, drain and end together? And do they follow the code?"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from orchestra.testing.plugin import Kafka
from tests.integration.moody import Act
from tests.integration.moody_events import MOODY, READY, moody_environment, notes, publish, wait_begun
from tests.integration.run_process import Process, running

pytestmark = pytest.mark.kafka


@pytest.fixture
def environment(kafka: Kafka, tmp_path: Path) -> dict[str, str]:
    return moody_environment(kafka.bootstrap_servers, tmp_path)


def workers_of(process: Process) -> list[psutil.Process]:
    return [
        child for child in psutil.Process(process.popen.pid).children() if "--as-worker" in " ".join(child.cmdline())
    ]


def wait_gone(processes: Sequence[psutil.Process], seconds: float) -> None:
    _, left = psutil.wait_procs(processes, timeout=seconds)
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_drains_every_worker(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with running([MOODY, "--workers", "2"], environment, tmp_path / "log") as process:
        process.wait_logged(READY, times=2)
        publish(environment, [Act(name=f"a{i}", mood="slow", seconds=2) for i in range(8)])
        wait_begun(process, environment, "a7")

        process.popen.send_signal(number)

        assert process.popen.wait(20) == 0
    assert notes(environment).count("done") == notes(environment).count("begun") == 8
    assert process.messages().count("moody has stopped") == 2
    assert {entry["worker"] for entry in process.entries() if entry["message"] == READY} == {1, 2}


def test_a_signal_that_reaches_the_whole_group_counts_once(environment: dict[str, str], tmp_path: Path) -> None:
    with running([MOODY, "--workers", "2"], environment, tmp_path / "log") as process:
        process.wait_logged(READY, times=2)
        publish(environment, [Act(name="slow", mood="slow", seconds=2)])
        wait_begun(process, environment, "slow")

        for each in [process.popen, *workers_of(process)]:
            each.send_signal(signal.SIGTERM)

        assert process.popen.wait(20) == 0
    assert "done slow" in notes(environment)


def test_a_second_signal_ends_the_workers_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    with running([MOODY, "--workers", "2"], environment, tmp_path / "log") as process:
        process.wait_logged(READY, times=2)
        publish(environment, [Act(name="slow", mood="slow", seconds=30)])
        wait_begun(process, environment, "slow")
        workers = workers_of(process)

        begun = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        process.wait_logged("SIGTERM: draining; a second signal ends at once")
        process.popen.send_signal(signal.SIGTERM)

        assert process.popen.wait(20) == 1
        assert time.monotonic() - begun < 8
        wait_gone(workers, 1)
    assert "done slow" not in notes(environment)


def test_a_killed_worker_is_started_again_and_the_other_goes_on(environment: dict[str, str], tmp_path: Path) -> None:
    with running([MOODY, "--workers", "2"], environment, tmp_path / "log") as process:
        process.wait_logged(READY, times=2)

        workers_of(process)[0].kill()

        process.wait_logged(READY, times=3)
        publish(environment, [Act(name=f"a{i}", mood="quick") for i in range(20)])
        process.wait_until(lambda: notes(environment).count("done") >= 20, "handle everything")
        assert any("was killed by SIGKILL; it starts again in" in message for message in process.messages())
        process.popen.terminate()
        assert process.popen.wait(20) == 0


def test_a_worker_that_dies_again_and_again_ends_the_parent_with_a_reason(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with running(
        [MOODY, "--workers", "2"], environment | {"ORCHESTRA_WORKER_RESTARTS": "0"}, tmp_path / "log"
    ) as process:
        process.wait_logged(READY, times=2)
        publish(environment, [Act(name="poison", mood="dying")])

        assert process.popen.wait(30) == 1
    (reason,) = [entry for entry in process.entries() if entry["level"] == "CRITICAL"]
    assert "died 1 times within 10 minutes; the last time it was killed by SIGKILL. Ending" in reason["message"]
    assert "moody has stopped" in process.messages()


def test_a_definition_error_in_the_workers_ends_the_parent_with_2(environment: dict[str, str], tmp_path: Path) -> None:
    with running(["tests.integration.moody:nothing", "--workers", "2"], environment, tmp_path / "log") as process:
        assert process.popen.wait(20) == 2
    assert any("has no 'nothing'" in message for message in process.messages())


def test_the_workers_end_when_their_parent_is_killed(environment: dict[str, str], tmp_path: Path) -> None:
    with running([MOODY, "--workers", "2"], environment, tmp_path / "log") as process:
        process.wait_logged(READY, times=2)
        publish(environment, [Act(name="slow", mood="slow", seconds=1)])
        wait_begun(process, environment, "slow")
        workers = workers_of(process)

        process.popen.kill()

        wait_gone(workers, 15)
    assert "done slow" in notes(environment)


def test_a_worker_whose_loop_is_blocked_ends_too_when_its_parent_is_killed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    short = environment | {"ORCHESTRA_DRAIN_TIMEOUT": "1", "ORCHESTRA_REQUEST_TIMEOUT": "1"}
    with running([MOODY, "--workers", "2"], short, tmp_path / "log") as process:
        process.wait_logged(READY, times=2)
        publish(short, [Act(name="stone", mood="blocking", seconds=60)])
        wait_begun(process, short, "stone")
        workers = workers_of(process)

        process.popen.kill()

        wait_gone(workers, 15)


def test_reload_follows_the_code_and_survives_a_mistake_in_it(environment: dict[str, str], tmp_path: Path) -> None:
    code = tmp_path / "project" / "shop.py"
    code.parent.mkdir()
    service = (
        "from orchestra import Event, Key, Service\n\n\n"
        'class Seen(Event, type="seen.v1", topic="seen"):\n    key: Key[str]\n\n\n'
        'service = Service("{name}")\n\n\n@service.on(Seen)\nasync def see(event: Seen) -> None:\n    pass\n'
    )
    code.write_text(service.format(name="first"))
    with running(["shop:service", "--reload"], environment, tmp_path / "log", code.parent) as process:
        process.wait_logged("first is running")

        code.write_text("this is no Python")
        process.wait_until(
            lambda: any("waiting for a change of the code" in message for message in process.messages()), "tell"
        )
        code.write_text(service.format(name="second"))
        process.wait_logged("second is running")

        process.popen.terminate()
        assert process.popen.wait(20) == 0
    assert "first has stopped" in process.messages()
    assert any("shop cannot be imported: SyntaxError" in message for message in process.messages())
