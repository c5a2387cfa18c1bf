"""Which brokers are there, and what do they run? For ``orchestra doctor``."""

# pyright: reportAssignmentType=false, reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# (aiokafka declares these as properties and sets them as attributes)

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import CompactArray, CompactString, Int8, Int16, Int32, Schema, TaggedFields

from orchestra.settings import Settings
from orchestra.transport.kafka.connection import client_arguments
from orchestra.transport.kafka.network import Network

_FINALIZED_FEATURES = 2
_RELEASES = ((30, "4.3"), (28, "4.2"), (26, "4.1"), (22, "4.0"), (21, "3.9"), (20, "3.8"), (15, "3.7"), (12, "3.6"))
"""The least ``metadata.version`` of each release; a cluster keeps an older one until an operator finalises a newer."""


@dataclass(frozen=True, slots=True)
class Brokers:
    """A cluster as it presents itself to clients.

    Attributes:
        addresses: ``host:port`` of each broker, as it tells clients to reach it.
        release: Apache Kafka's, such as "4.3", as far as it can be told from the cluster's features; else "".
    """

    addresses: tuple[str, ...]
    release: str


async def describe_brokers(settings: Settings) -> Brokers:
    """What one of the brokers says. Raises UnreachableError, AccessDeniedError."""
    network = Network(client_arguments(settings), name="orchestra-doctor", timeout=settings.request_timeout)
    await network.start()

    async def attempt() -> Brokers:
        answer = await network.ask_any(MetadataRequest([], allow_auto_topic_creation=False))
        addresses = sorted(f"{host}:{port}" for _, host, port, *_ in answer.brokers)
        return Brokers(tuple(addresses), await _release(network))

    try:
        return await network.persist(attempt, "asking about the brokers")
    finally:
        await network.aclose()


async def _release(network: Network) -> str:
    try:
        answer = await network.ask_any(_FeaturesRequest())
    except NotImplementedError:
        return ""  # a broker before Kafka 2.4
    level = finalized_features(answer.tags.get(_FINALIZED_FEATURES, b"\x01")).get("metadata.version", 0)
    return next((release for least, release in _RELEASES if level >= least), "")


def finalized_features(raw: bytes) -> dict[str, int]:
    """Feature -> the level that the whole cluster has, from the tagged field of an ApiVersions response."""
    features = _Features.decode(BytesIO(raw))
    return {name: level for name, level, *_ in features or ()}


_Features: Any = CompactArray(
    ("name", CompactString("utf-8")),
    ("max_version_level", Int16),
    ("min_version_level", Int16),
    ("tags", TaggedFields),
)


class _FeaturesResponse_v3(Response):  # type: ignore[misc]  # noqa: N801  # aiokafka's way to name a version
    """ApiVersions, version 3 (KIP-584), whose tagged fields name the cluster's features.

    Alone among the flexible responses it has the old header without tags. aiokafka reads the first byte of the error
    code as that header's (empty) tags, so that one byte of it is left here.
    """

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int8),
        (
            "api_versions",
            CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), ("tags", TaggedFields)),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _FeaturesRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801
    FLEXIBLE_VERSION = True
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = _FeaturesResponse_v3
    SCHEMA = Schema(
        ("client_software_name", CompactString("utf-8")),
        ("client_software_version", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class _FeaturesRequest(Request[_FeaturesRequest_v3]):  # type: ignore[misc]
    API_KEY = 18

    def build(self, request_struct_class: type[_FeaturesRequest_v3]) -> _FeaturesRequest_v3:
        return request_struct_class("orchestra", "1", {})
