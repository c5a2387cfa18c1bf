from __future__ import annotations

from orchestra.testing.kafka_docker import container_settings


def test_the_advertised_port_is_the_one_that_clients_of_this_machine_use() -> None:
    settings = container_settings(25_000)

    assert "HOST://:25000" in settings["KAFKA_LISTENERS"]
    assert settings["KAFKA_ADVERTISED_LISTENERS"].startswith("HOST://127.0.0.1:25000,")


def test_a_container_has_the_same_settings_as_a_broker_of_this_machine() -> None:
    settings = container_settings(25_000)

    assert settings["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert settings["KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS"] == "500"
    assert all(name.startswith("KAFKA_") and name.isupper() for name in settings)
