"""`leveler emulate servicebus`, as a user types it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from leveler_servicebus.emulator import EmulatorOptions, QueueSettings, ServiceBusEmulator
from leveler_servicebus.emulator.options import Configured, read_config, read_queue

from leveler.errors import ConfigError
from tests.servicebus.rig import run


def test_a_queue_is_named_with_its_settings() -> None:
    assert read_queue("orders") == ("orders", QueueSettings())
    assert read_queue("a,lock_seconds=2.5,sessions=true,max_delivery_count=3,duplicate_window_seconds=60") == (
        "a",
        QueueSettings(lock_ms=2500, requires_session=True, max_delivery_count=3, duplicate_window_ms=60_000),
    )
    assert read_queue(
        "b,ttl_seconds=5,dead_letter_on_expiration=true,max_message_kilobytes=64,max_size_megabytes=2"
    ) == (
        "b",
        QueueSettings(
            default_ttl_ms=5000, dead_letter_on_expiration=True, max_message_bytes=65536, max_size_bytes=2 * 1024 * 1024
        ),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q,lock=5", "'lock' is no setting of a queue: expected one of lock_seconds"),
        ("q,lock_seconds=x", "'PTxS' is no duration"),
        ("q,lock_seconds=301", "up to 5 minutes"),
        ("q,sessions=maybe", "neither true nor false"),
        ("q,max_delivery_count=0", "expected 1 to 2000"),
    ],
)
def test_a_setting_that_is_wrong_says_where_and_what_is_right(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        read_queue(text)
    assert text in str(refused.value)


CONFIG = {
    "UserConfig": {
        "Namespaces": [
            {
                "Name": "sbemulatorns",
                "Queues": [
                    {
                        "Name": "queue.1",
                        "Properties": {
                            "DeadLetteringOnMessageExpiration": False,
                            "DefaultMessageTimeToLive": "PT1H",
                            "DuplicateDetectionHistoryTimeWindow": "PT20S",
                            "ForwardDeadLetteredMessagesTo": "",
                            "ForwardTo": "",
                            "LockDuration": "PT1M",
                            "MaxDeliveryCount": 3,
                            "RequiresDuplicateDetection": False,
                            "RequiresSession": False,
                        },
                    }
                ],
                "Topics": [],
            }
        ],
        "Logging": {"Type": "File"},
    }
}


def test_the_configuration_of_the_vendors_emulator_is_read(tmp_path: Path) -> None:
    file = tmp_path / "Config.json"
    file.write_text(json.dumps(CONFIG))

    assert read_config(file) == Configured(
        queues={"queue.1": QueueSettings(default_ttl_ms=3_600_000, max_delivery_count=3)}
    )


def test_a_configuration_may_have_keys_of_its_own_and_no_repr_shows_them(tmp_path: Path) -> None:
    file = tmp_path / "Config.json"
    policy = {"Name": "sends", "Key": "very secret", "Rights": ["Send"]}
    file.write_text(json.dumps({"UserConfig": {"Namespaces": [{"Policies": [policy]}]}}))

    configured = read_config(file)

    assert [(one.name, one.key, one.rights) for one in configured.policies] == [
        ("sends", "very secret", frozenset({"send"}))
    ]
    assert "very secret" not in repr(configured)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("{}", "'UserConfig' is missing"),
        ('{"UserConfig": []}', "expected {'UserConfig'"),
        ('{"UserConfig": {"Namespaces": [{"Topics": [{}]}]}}', "topics are not emulated"),
        (
            '{"UserConfig": {"Namespaces": [{"Policies": [{"Name": "a", "Key": "k", "Rights": ["x"]}]}]}}',
            "Rights of 'a'",
        ),
    ],
)
def test_a_configuration_that_is_wrong_says_why(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "Config.json").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_config(tmp_path / "Config.json")


def starts_badly(options: EmulatorOptions) -> str:
    async def story() -> None:
        await ServiceBusEmulator(options).serve(lambda url, **details: pytest.fail("it is not ready"))

    with pytest.raises(ConfigError) as refused:
        run(story())
    return str(refused.value)


def test_a_port_that_somebody_has_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "choose --port" in starts_badly(EmulatorOptions(port=port, admin_port=0))
        assert "choose --port and --admin-port" in starts_badly(EmulatorOptions(port=0, admin_port=port))


def test_what_cannot_be_is_said_before_anything_listens(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    assert "no certificate" in starts_badly(EmulatorOptions(port=0, tls_cert_file=str(tmp_path / "no.pem")))
    assert "clock's speed" in starts_badly(EmulatorOptions(port=0, clock_speed=0))
    assert "cannot be used" in starts_badly(EmulatorOptions(port=0, file=str(tmp_path / "missing" / "bus.db")))
    assert "no name" in starts_badly(EmulatorOptions(port=0, queue=["-q"]))


def test_a_key_of_ones_own_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "Config.json"
    policy = {"Name": "mine", "Key": "very secret"}
    file.write_text(json.dumps({"UserConfig": {"Namespaces": [{"Policies": [policy]}]}}))
    said: list[dict[str, str]] = []

    class Enough(Exception):
        pass

    def ready(url: str, **details: str) -> None:
        said.append({"url": url, **details})
        raise Enough

    async def story() -> None:
        with pytest.raises(Enough):
            await ServiceBusEmulator(EmulatorOptions(port=0, admin_port=0, config=str(file))).serve(ready)

    run(story())
    assert "SharedAccessKeyName=mine;SharedAccessKey=..." in said[0]["connection_string"]
    assert said[0]["url"].startswith("servicebus://mine:...@127.0.0.1:")
    assert "very secret" not in str(said)


def test_it_prints_what_to_connect_with_and_ends_at_a_signal() -> None:
    command = [sys.executable, "-m", "leveler", "emulate", "servicebus", "--port", "0", "--admin-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            ready, connection, admin = (running.stdout.readline() for _ in range(3))
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0
        finally:
            running.kill()
    port = r"127\.0\.0\.1:\d+"
    known = "RootManageSharedAccessKey"
    assert re.fullmatch(
        rf"servicebus is ready: servicebus://{known}:SAS_KEY_VALUE@{port}\?insecure=true&admin_port=\d+\n", ready
    )
    assert re.fullmatch(
        rf"  connection string: Endpoint=sb://{port};SharedAccessKeyName={known};SharedAccessKey=SAS_KEY_VALUE;"
        r"UseDevelopmentEmulator=true;\n",
        connection,
    )
    assert re.fullmatch(rf"  admin url: http://{port}\n", admin)


def test_it_needs_no_client_to_run() -> None:
    """Whoever has come for the emulator alone installs nothing of Azure."""
    forbidden = "import sys; sys.modules.update(azure=None, aiohttp=None)"
    command = f"{forbidden}; import leveler_servicebus.emulator; print('fine')"
    ran = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)

    assert ran.stdout == "fine\n", ran.stderr
