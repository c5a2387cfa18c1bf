"""Where are the health endpoints served? By uvicorn, in a thread with an event loop of its own.

So they answer while the process's own loop is blocked, and say by what.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from orchestra.errors import SettingsError
from orchestra.health.asgi import Source, health_app
from orchestra.settings import Settings

_log = logging.getLogger("orchestra")

_JOIN_SECONDS = 3.0


def health_endpoints(settings: Settings, source: Source) -> AbstractContextManager[int | None]:
    """Serves the endpoints where the settings ask for it. Raises SettingsError."""
    address = settings.health_address
    if address is None:
        return nullcontext()
    return serving(*address, source)


@contextmanager
def serving(host: str, port: int, source: Source) -> Generator[int]:
    """Serve the endpoints until this is left. Gives the port, which is another one where ``port`` is 0.

    Args:
        host, port: where to listen.
        source: called in the server's thread.

    Raises:
        SettingsError: uvicorn is not installed, or nobody can listen there.
    """
    server = _make_server(source)
    with _listen(host, port) as listener:
        real_port: int = listener.getsockname()[1]
        thread = threading.Thread(
            target=asyncio.run, args=(server.serve(sockets=[listener]),), name="orchestra-health", daemon=True
        )
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        _log.info("health: http://%s:%d/live, /ready, /lag", shown, real_port)
        try:
            yield real_port
        finally:
            server.should_exit = True
            thread.join(_JOIN_SECONDS)


def _make_server(source: Source) -> Any:
    try:
        import uvicorn
    except ImportError as missing:
        raise SettingsError("health endpoints need the extra: pip install 'orchestra[health]'") from missing
    config = uvicorn.Config(
        health_app(source),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        limit_concurrency=64,
    )
    return uvicorn.Server(config)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(f"ORCHESTRA_HEALTH: cannot listen on {host}:{port}: {error}") from error
