"""Azure Storage Queue: Azurite, the vendor's own emulator, which `prepare` installs outside of the project."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from tests.containers.broker import Broker, Command, Options

AZURITE_VERSION: Final = "3.37.0"
#: Everybody's: https://learn.microsoft.com/azure/storage/common/storage-use-emulator
_AZURITE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_AZURITE_FLAGS: Final = ("--skipApiVersionCheck", "--disableTelemetry", "--silent")


def _azurite() -> str | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    prepared = cache / f"leveler-tests/azurite-{AZURITE_VERSION}/node_modules/.bin/azurite-queue"
    return str(prepared) if prepared.exists() else shutil.which("azurite-queue")


def _azurite_as_process(options: Options, folder: Path, port: int) -> Command:
    """In files: what it keeps in memory it looks through once a minute, and answers nobody meanwhile; with some
    thousands of messages for half a minute."""
    place = {"location": str(folder), **options}
    words = [word for key, value in place.items() for word in (f"--{key}", value)]
    return Command(
        words=[str(_azurite()), "--queueHost", "127.0.0.1", "--queuePort", str(port), *_AZURITE_FLAGS, *words]
    )


def _azure_version(url: str) -> str:
    """As the server calls itself when it refuses to talk to somebody without a name."""
    at = urlsplit(url)
    scheme = "http" if "insecure=true" in at.query else "https"
    where = at.netloc.rpartition("@")[2]
    try:
        urlopen(f"{scheme}://{where}{at.path or '/'}?comp=list", timeout=5.0).close()
    except HTTPError as answer:
        with answer:
            return str(answer.headers["Server"])
    raise RuntimeError(f"{where} lets anybody in")


STORAGEQUEUE: Final = Broker(
    name="storagequeue",
    program=_azurite,
    url=lambda port: (
        f"azurequeue://devstoreaccount1:{quote(_AZURITE_KEY, safe='')}@127.0.0.1:{port}/devstoreaccount1?insecure=true"
    ),
    as_process=_azurite_as_process,
    version=_azure_version,
    install="run tests/containers/prepare",
)
