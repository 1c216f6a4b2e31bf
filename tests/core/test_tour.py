"""The tour in ``leveler/__init__.py`` is true, and complete."""

from __future__ import annotations

import re
from pathlib import Path

import leveler

ROOT = Path(leveler.__file__).parent
TOUR = leveler.__doc__ or ""
NAMED = set(re.findall(r"\b(\w+\.py|\w+/)(?=[\s,])", TOUR))


def _rooms(folder: Path) -> set[str]:
    files = {path.name for path in folder.glob("*.py") if not path.name.startswith("__")}
    return files | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


def test_the_tour_names_every_room_and_nothing_else() -> None:
    assert _rooms(ROOT) | _rooms(ROOT / "consumer") == NAMED


def test_what_is_public_is_what_is_imported_by_name() -> None:
    source = (ROOT / "__init__.py").read_text()
    assert re.findall(r"^from \S+ import (\w+) as \1$", source, re.MULTILINE) == leveler.__all__


def test_the_spine_is_one_short_function() -> None:
    source = (ROOT / "consumer" / "consumer.py").read_text()
    body = source.split("async def _carry")[1].split("\n    # The steps")[0]
    assert len(body.strip().splitlines()) <= 40
    for step in ("_decode", "_acquire", "_handle", "_decide", "_settle", "_release"):
        assert f"self.{step}(" in body
