"""A real worker: ``leveler run`` in a process of its own, as it would run in production."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from leveler.errors import LevelerError

_START_SECONDS = 30.0
_STOP_SECONDS = 40.0


class Worker:
    """Ready when entered; drained by SIGTERM when left.

    Args:
        config: the ``leveler.yaml`` that it reads.
        environment: what its handlers read besides.
        log: where its own words go.
    """

    def __init__(self, config: Path, environment: Mapping[str, str], log: Path) -> None:
        self._config = config
        self._environment = environment
        self._log = log

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "leveler", "run", "leveler.demo.handlers:app", "--config", str(self._config)),
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        try:
            await asyncio.wait_for(self._ready(), _START_SECONDS)
        except BaseException as error:
            await self._kill()
            if isinstance(error, TimeoutError):
                raise self._failure(f"is not ready after {_START_SECONDS:g} s") from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self._kill()
            return
        self.check()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except BaseException:
            await self._kill()
            raise
        if code:
            raise self._failure(f"ended with exit code {code}")

    def check(self) -> None:
        """Whether it still runs.

        Raises:
            LevelerError: it does not.
        """
        if self._process.returncode is not None:
            raise self._failure(f"ended by itself, with exit code {self._process.returncode}")

    async def _ready(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.strip() == b"ready":
                return
        raise self._failure(f"did not start, exit code {await self._process.wait()}")

    async def _kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _failure(self, what: str) -> LevelerError:
        last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
        return LevelerError(f"the demo's worker {what}: {last[0] if last else 'it said nothing'}")
