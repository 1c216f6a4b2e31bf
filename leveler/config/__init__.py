"""Configuration: what the code gave, then leveler.yaml, then LEVELER_*, key by key; the last one to speak is heard.

    words.py        the keys there are, and what each one takes
    voice.py        what one source says, and where
    file.py         leveler.yaml as a voice
    filling.py      ${NAME} in its texts
    environment.py  LEVELER_* as a voice
    check.py        a voice checked: its words in the engine's units, or one line for each mistake
    effective.py    the voices over the code's settings
    explain.py      what holds in the end, and who said it

The file is the one that is asked for, or the one that ``LEVELER_CONFIG`` names, or ``leveler.yaml`` where the process
was started, if there is one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath

from leveler.config.check import check
from leveler.config.effective import combine, mismatches
from leveler.config.environment import FILE_VARIABLE, read_environment
from leveler.config.explain import Row as Row
from leveler.config.explain import rows
from leveler.config.file import read_file
from leveler.config.filling import fill
from leveler.config.voice import Path, Place, Problem, Said, Voice
from leveler.errors import ConfigError
from leveler.settings import ConsumerSettings, QueueSettings, Settings

__all__ = ["Row", "explain", "load"]


def load(
    code: Settings,
    file: str | FilePath | None = None,
    *,
    broker: str | None = None,
    listen: str | None = None,
    processes: str | None = None,
    connecting: bool = True,
) -> Settings:
    """The settings that hold.

    Args:
        code: what the code gave; the weakest.
        file: the file to read, whatever ``LEVELER_CONFIG`` names; None = that one, or leveler.yaml if there is one.
        broker: URL of the default broker, whatever anybody else says: the command line's.
        listen: where to listen, the same way.
        processes: how many there are to be, the same way.
        connecting: False: nobody will connect. What is said about brokers is not read, so their secrets may be missing.

    Raises:
        ConfigError: one line for each thing that is wrong: where, what was expected, and what may have been meant.
    """
    words = {"broker": broker, "listen": listen, "processes": processes}
    return _effective(code, _voices(file, words, connecting=connecting), connecting=connecting)[0]


def explain(
    code: Settings, file: str | FilePath | None = None, *, broker: str | None = None, queues: Collection[str] = ()
) -> list[Row]:
    """Every setting that holds and who said it, without secrets.

    Args:
        code: as for `load`.
        file: as for `load`.
        broker: as for `load`.
        queues: consumed queues, shown with their defaults where nobody says anything about them.

    Raises:
        ConfigError: as `load` does.
    """
    settings, said = _effective(code, _voices(file, {"broker": broker}, connecting=True), connecting=True)
    shown = replace(
        settings,
        queues={**{name: QueueSettings() for name in queues}, **settings.queues},
        consumers={**{name: ConsumerSettings() for name in queues}, **settings.consumers},
    )
    return list(rows(shown, said))


def _voices(file: str | FilePath | None, words: Mapping[str, str | None], *, connecting: bool) -> list[Voice]:
    """The weaker first; `words` are the command line's."""
    found = _find(file)
    voices = [] if found is None else [read_file(found)]
    voices.append(read_environment())
    if given := {word: said for word, said in words.items() if said is not None}:
        voices.append(_command_line(given))
    if not connecting:
        voices = [voice.without_brokers() for voice in voices]
    if found is not None:
        voices[0] = fill(voices[0], os.environ)
    return voices


def _find(file: str | FilePath | None) -> FilePath | None:
    named = os.environ.get(FILE_VARIABLE) if file is None else file
    if named is None:
        if not FilePath("leveler.yaml").is_file():
            _refuse_other_names()
            return None
        return FilePath("leveler.yaml")
    if not _is_there(FilePath(named)):
        by = f" ({FILE_VARIABLE} names it)" if file is None else ""
        raise ConfigError(f"{named or repr(named)}: there is no such file{by}")
    return FilePath(named)


def _is_there(file: FilePath) -> bool:
    """What may not be looked at counts as there: whoever reads it is told why that cannot be done."""
    try:
        return file.exists()
    except OSError:
        return True


def _refuse_other_names() -> None:
    """Whoever writes one of these believes that it holds."""
    in_yaml = " and write it in YAML"
    ways = {"yml": f", or name it with --config or {FILE_VARIABLE}", "toml": in_yaml, "json": in_yaml}
    for ending, way in ways.items():
        if FilePath(f"leveler.{ending}").is_file():
            raise ConfigError(f"leveler.{ending}: is not read: call it leveler.yaml{way}")


def _command_line(values: Mapping[str, str]) -> Voice:
    places: dict[Path, Place] = {(word,): Place(0, f"--{word}", f"--{word}") for word in values}
    places[()] = Place(0, "command line", "command line")
    return Voice(values=values, places=places, written=values, spelling=lambda path: f"--{path[-1]}")


def _effective(code: Settings, voices: Sequence[Voice], *, connecting: bool) -> tuple[Settings, list[Said]]:
    said: list[Said] = []
    problems: list[Problem] = []
    for voice in voices:  # each by itself: a mistake is one even where a stronger voice drowns it
        one, wrong = check(voice)
        problems += sorted(wrong)
        said += [one] if one is not None else []
    _refuse(problems)
    settings, problems = combine(code, said)
    _refuse([*problems, *mismatches(settings, said, connecting=connecting)])
    return settings, said


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise ConfigError("\n".join(problem.text for problem in problems))
