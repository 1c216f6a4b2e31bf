"""SQS: an emulator, whose data is gone when it is killed."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tests.containers import ministack
from tests.containers.broker import Broker, Command, Options


def _sqs_as_process(options: Options, folder: Path, port: int) -> Command:
    """It would listen on every address, open a second port, and look after somebody's containers."""
    environment = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "sqs",
        "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder}/none",
        "LOG_LEVEL": "WARNING",
        **options,
    }
    return Command(words=[str(ministack.PROGRAM)], environment=environment)


def _sqs_version(url: str) -> str:
    """Of the emulator; a service that does not say answers to adapters, if it does."""
    endpoint = dict(parse_qsl(urlsplit(url).query)).get("endpoint_url")
    if not endpoint:
        return "AWS"
    with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=5.0) as answer:
        return str(json.load(answer)["version"])


SQS: Final = Broker(
    name="sqs",
    program=ministack.program,
    url=lambda port: f"sqs://us-east-1?endpoint_url=http://127.0.0.1:{port}",
    as_process=_sqs_as_process,
    version=_sqs_version,
    credentials={"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    install="run tests/containers/prepare",
)
