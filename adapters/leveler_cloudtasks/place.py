"""Place: the project and the location of the URL, and the names that follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leveler.adapter import redact
from leveler.errors import ConfigError

_URL = re.compile(r"cloudtasks://([A-Za-z0-9.:-]+)/([A-Za-z0-9-]+)/?")


@dataclass(frozen=True)
class Place:
    """``cloudtasks://PROJECT/LOCATION``."""

    project: str
    location: str

    @classmethod
    def of(cls, url: str) -> Place:
        match = _URL.fullmatch(url)
        if match is None:
            raise ConfigError(
                f"{redact(url)}: write it as cloudtasks://PROJECT/LOCATION, such as 'my-shop/europe-west1'"
            )
        return cls(match[1], match[2])

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    def queue(self, name: str) -> str:
        return f"{self.parent}/queues/{name}"
