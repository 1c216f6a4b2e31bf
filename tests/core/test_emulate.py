"""``leveler emulate``: whoever brings an emulator brings its options, and it ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from leveler.cli import make

ACME = '''
import asyncio, pathlib
from dataclasses import dataclass, field
from leveler.errors import ConfigError

@dataclass(frozen=True, kw_only=True)
class Options:
    port: int = field(default=0, metadata={"help": "Where it listens."})
    a_file: str = "none"
    strict: bool = False

class Acme:
    """Emulate the broker of Acme."""
    options = Options
    def __init__(self, options):
        self.at = options
    async def serve(self, ready):
        if self.at.port == 1:
            raise ConfigError("port 1 is taken: choose another")
        ready(f"acme://127.0.0.1:{self.at.port}", file=self.at.a_file, strict=str(self.at.strict))
        try:
            await asyncio.Event().wait()
        finally:
            pathlib.Path("ended").write_text("yes")
'''


@pytest.fixture(autouse=True)
def _acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with two emulators; the library of one is missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("acme-1.0.dist-info").mkdir()
    Path("acme-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    Path("acme-1.0.dist-info/entry_points.txt").write_text(
        "[leveler.emulators]\nacme = leveler_acme:Acme\nlacking = leveler_lacking:Lacking\n"
    )
    Path("leveler_acme.py").write_text(ACME)
    Path("leveler_lacking.py").write_text("import a_client_that_nobody_has\n")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(make(), ["emulate", *words])
    return result.exit_code, result.output


@contextmanager
def served(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The emulator in a process of its own, and the line that says that it is ready."""
    command = [sys.executable, "-m", "leveler", "emulate", *words]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_what_is_installed_is_listed() -> None:
    code, out = run("--help")
    assert code == 0
    assert "acme" in out
    assert "Emulate the broker of Acme." in out


def test_the_options_are_those_of_the_emulator() -> None:
    code, out = run("acme", "--help")
    assert code == 0
    assert all(word in out for word in ("--port", "Where it listens.", "--a-file", "--strict", "--json"))


def test_it_says_where_it_is_and_ends_at_a_signal() -> None:
    with served("acme", "--port", "4711") as (process, line):
        assert line == "acme is ready: acme://127.0.0.1:4711\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert Path("ended").read_text() == "yes"


def test_programs_get_everything_as_json() -> None:
    with served("acme", "--json", "--a-file", "x.db", "--strict") as (process, line):
        said = {"emulator": "acme", "url": "acme://127.0.0.1:0", "file": "x.db", "strict": "True"}
        assert json.loads(line) == said
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("acme", "--port", "1"), "port 1 is taken"),
        (("acme", "--port", "many"), "--port"),
        (("nothing",), "nothing"),
        (("lacking",), "install it as 'acme' says"),
    ],
)
def test_what_is_wrong_is_wrong_input(words: tuple[str, ...], said: str) -> None:
    code, out = run(*words)
    assert code == 2
    assert said in out
