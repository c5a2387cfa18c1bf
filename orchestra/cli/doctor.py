"""Is this cluster as orchestra needs it? ``orchestra doctor``."""

from __future__ import annotations

import asyncio
import json
import platform
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.errors import AccessDeniedError, OrchestraError, UnreachableError

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.cli.probe import Finding
    from orchestra.settings import Settings
    from orchestra.transport.port import Transport

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
_CONNECT_SECONDS = 3.0


def doctor(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Look at their topics too: a Service, Coordinator or App each.", metavar="MODULE:NAME"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of findings.")] = False,
) -> None:
    """See whether this cluster is as orchestra needs it.

    Looks at addresses, brokers, topics and keys; tries the partitioner, the clock and the fence in a probe topic, and
    removes it. Exit code 0 if nothing failed, else 4 (no broker answers), 5 (topics) or 1.
    """
    from orchestra.cli.target import load_app

    settings = settings_from_environment()
    app = load_app(targets) if targets else None
    found = asyncio.run(_collect(settings, app, quiet=as_json))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    failed = [finding for finding in found if finding.state == "failed"]
    if not as_json:
        typer.echo(f"\n{_verdict(len(failed), sum(finding.state == 'warning' for finding in found))}")
    if failed:
        raise typer.Exit(failed[0].code)


async def _collect(settings: Settings, app: App | None, *, quiet: bool) -> list[Finding]:
    found: list[Finding] = []
    async for finding in examine(settings, app):
        found.append(finding)
        if not quiet:
            _show(finding)
    return found


async def examine(settings: Settings, app: App | None) -> AsyncIterator[Finding]:
    """The findings, one by one as they are made; ends early where nothing more can be looked at."""
    from orchestra.cli.probe import Finding

    yield Finding("versions", "ok", _versions())
    reached = False
    for address in settings.bootstrap_servers.split(","):
        finding = await try_address(address.strip(), "address")
        reached = reached or finding.state == "ok"
        yield finding
    if not reached:
        return
    try:
        async with connected(settings) as transport:
            yield Finding("client", "ok", f"connected as {_identity(settings)}")
            async for finding in _inside(transport, settings, app):
                yield finding
    except OrchestraError as error:
        yield _refused(error)


async def _inside(transport: Transport, settings: Settings, app: App | None) -> AsyncIterator[Finding]:
    """What a client that is connected can find out."""
    from orchestra.cli.probe import probe_cluster
    from orchestra.clock import SystemClock

    async for finding in _brokers(settings):
        yield finding
    for finding in await _topics(transport, settings, app) if app else []:
        yield finding
    for finding in await probe_cluster(transport, settings, SystemClock()):
        yield finding


async def try_address(address: str, check: str) -> Finding:
    """Whether something listens at ``host:port``."""
    from orchestra.cli.probe import Finding
    from orchestra.clock import SystemClock

    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        remedy = "write ORCHESTRA_BOOTSTRAP_SERVERS as host:port, with commas between several"
        return Finding(check, "failed", f"{address!r} is not host:port", remedy, code=4)
    clock = SystemClock()
    begun = clock.elapsed()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        remedy = "a firewall or a wrong address: packets get lost on the way"
        return Finding(check, "failed", f"{address}: no answer within {_CONNECT_SECONDS:.0f} s", remedy, code=4)
    except socket.gaierror:
        remedy = "the name is wrong, or this machine's DNS does not know it"
        return Finding(check, "failed", f"{address}: no such host", remedy, code=4)
    except OSError as error:
        remedy = "is Kafka running, and is this its port? `orchestra kafka up` starts one on this machine"
        return Finding(check, "failed", f"{address}: {error.strerror or error}", remedy, code=4)
    took = (clock.elapsed() - begun) * 1000
    writer.close()
    return Finding(check, "ok", f"{address} listens ({took:.1f} ms)")


async def _brokers(settings: Settings) -> AsyncIterator[Finding]:
    """What the cluster says about itself; each broker's own address must be reachable from here too."""
    from orchestra.cli.probe import Finding
    from orchestra.transport.kafka.brokers import describe_brokers

    state = await describe_brokers(settings)
    count = len(state.addresses)
    release = state.release or "of a release that it does not tell"
    yield Finding("cluster", "ok", f"Apache Kafka {release}, {count} broker{'s' if count > 1 else ''}")
    for address in state.addresses:
        finding = await try_address(address, "broker")
        if finding.state == "failed":
            remedy = "the cluster names this address to its clients: mend advertised.listeners, or the way there"
            finding = Finding("broker", "failed", finding.text, remedy, code=4)
        yield finding
    if settings.env == "production" and count < 3:
        remedy = "three brokers, replication factor 3, min.insync.replicas 2 survive the loss of one"
        yield Finding("replication", "warning", f"ORCHESTRA_ENV=production on {count} broker(s)", remedy)


async def _topics(transport: Transport, settings: Settings, app: App) -> list[Finding]:
    from orchestra.cli.probe import Finding, sample_keys
    from orchestra.transport.topic_setup import find_problems
    from orchestra.units import topics_of

    needed = topics_of(app, transport, settings)
    problems = await find_problems(transport.topics, needed, settings)
    missing = [one.topic for one in problems if one.kind == "missing"]
    found = [
        Finding("topics", "failed", f"{one.topic} {one.text}", one.remedy, code=5)
        for one in problems
        if one.kind != "missing"
    ]
    if missing:
        text = f"{len(missing)} of {len(needed)} do not exist: {', '.join(missing)}"
        found.append(Finding("topics", "failed", text, "`orchestra topics create` makes them", code=5))
    if not problems:
        found = [Finding("topics", "ok", f"all {len(needed)} topics of {app} are as needed")]
    return [*found, await sample_keys(transport, keyed_topics(app, settings))]


def keyed_topics(app: App, settings: Settings) -> list[str]:
    """The topics whose records' keys choose the partition: the team's own, not the coordinators'."""
    declared: set[str] = set()
    for service in app.services:
        declared |= service.command_topics | service.event_topics | service.emitted_topics
    for coordinator in app.coordinators:
        for definition in coordinator.definitions:
            declared |= {*definition.starts_on.values(), *definition.topics}
    return sorted(map(settings.topic, declared))


def _refused(error: OrchestraError) -> Finding:
    from orchestra.cli.probe import Finding

    if isinstance(error, AccessDeniedError):
        remedy = "see ORCHESTRA_SECURITY_PROTOCOL, _SASL_MECHANISM, _SASL_USERNAME and _SASL_PASSWORD"
        return Finding("client", "failed", str(error), remedy)
    remedy = "something listens there that does not speak Kafka, or speaks it over TLS: see ORCHESTRA_SECURITY_PROTOCOL"
    return Finding("client", "failed", str(error), remedy, code=4 if isinstance(error, UnreachableError) else 1)


def _versions() -> str:
    return f"orchestra {version('orchestra')}, Python {platform.python_version()}, aiokafka {version('aiokafka')}"


def _identity(settings: Settings) -> str:
    security = settings.security
    user = f" {security.sasl_username}" if security.sasl_username else ""
    names = f", names begin with {settings.namespace}." if settings.namespace else ""
    return f"{security.protocol}{user}, {settings.env}{names}"


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    typer.echo(f"{typer.style(mark, fg=colour)} {finding.check:<12} {finding.text}")
    if finding.remedy:
        typer.echo(f"  {'':<12} {typer.style('→', fg=colour)} {finding.remedy}")


def _verdict(failed: int, warnings: int) -> str:
    if failed:
        return typer.style(f"{failed} check{'s' if failed > 1 else ''} failed", fg="red")
    noted = f", {warnings} to think about" if warnings else ""
    return typer.style(f"this cluster is as orchestra needs it{noted}", fg="green")
