"""One distribution, one word per adapter, one version; and nobody is ever told to install somebody else's project."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import leveler

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
ADAPTERS = sorted(path for path in (ROOT / "adapters").iterdir() if path.is_dir() and path.name != "__pycache__")

#: What every installation has, so that an adapter needs no extra for it.
ALWAYS_THERE = {"leveler", "msgspec", "tenacity"} | sys.stdlib_module_names

# On the package index the bare name belongs to another project.
BARE_EXTRA = re.compile(r"leveler\[")
BARE_INSTALL = re.compile(r"\b(?:install|add)\s+(?:-\S+\s+)*['\"]?leveler(?![\w-])")


def word(adapter: Path) -> str:
    return adapter.name.removeprefix("leveler_")


def clients(adapter: Path) -> set[str]:
    """Packages that the adapter imports and that not every installation has."""
    found = set()
    for path in adapter.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    return found - ALWAYS_THERE - {adapter.name}


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the project: what tools have made stands in folders with a dot, or in those listed here."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        made = any(part.startswith(".") and part != ".ci" for part in parts[:-1]) or {
            "build",
            "dist",
            "__pycache__",
        } & {*parts}
        if path.is_file() and not made and path.stat().st_size < 1_000_000:
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


def test_there_are_adapters_to_check() -> None:
    assert "leveler_memory" in {adapter.name for adapter in ADAPTERS}


def test_the_adapters_folder_is_no_package() -> None:
    assert not (ROOT / "adapters" / "__init__.py").exists()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=word)
def test_an_adapter_is_a_typed_package_with_one_word_for_all(adapter: Path) -> None:
    assert adapter.name == f"leveler_{word(adapter)}"
    assert (adapter / "__init__.py").exists()
    assert (adapter / "py.typed").exists()
    assert f"adapters/{adapter.name}" in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    entry = PYPROJECT["project"]["entry-points"]["leveler.adapters"][word(adapter)]
    assert entry.partition(":")[0].partition(".")[0] == adapter.name


@pytest.mark.parametrize("adapter", ADAPTERS, ids=word)
def test_an_adapter_that_needs_a_client_has_an_extra_of_its_word(adapter: Path) -> None:
    extras = PYPROJECT["project"].get("optional-dependencies", {})
    assert bool(clients(adapter)) <= bool(extras.get(word(adapter))), f"it imports {clients(adapter)}"


def test_every_entry_point_and_every_packaged_adapter_has_its_folder() -> None:
    words = {word(adapter) for adapter in ADAPTERS}
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert PYPROJECT["project"]["entry-points"]["leveler.adapters"].keys() == words
    ours = ["leveler", *(f"adapters/leveler_{word}" for word in words), "contrib/leveler_lambda"]
    assert sorted(packages) == sorted(ours)


def test_the_core_is_typed() -> None:
    assert (ROOT / "leveler" / "py.typed").exists()


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "leveler/__init__.py"
    assigned = [path for path in (ROOT / "leveler").rglob("*.py") if re.search(r"(?m)^__version__\b", path.read_text())]
    assert assigned == [ROOT / "leveler" / "__init__.py"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(a|b|rc|dev)\d+)?", leveler.__version__)


def test_nobody_is_told_to_install_the_other_project_of_our_name() -> None:
    told = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path, text in texts()
        for line in text.splitlines()
        if BARE_EXTRA.search(line) or BARE_INSTALL.search(line)
    ]
    assert told == []


def test_no_requirement_names_the_other_project_of_our_name() -> None:
    assert PYPROJECT["project"]["name"] == "leveler-mq"
    groups = [PYPROJECT["project"]["dependencies"], *PYPROJECT["project"].get("optional-dependencies", {}).values()]
    names = {re.split(r"[^\w.-]", requirement)[0] for group in groups for requirement in group}
    assert "leveler" not in names


@pytest.mark.parametrize(
    ("line", "is_bare"),
    [
        ("pip install '{name}[sqs]'", True),
        ("pip install {name}-mq[sqs]", False),
        ("pip install {name}", True),
        ("uv add --dev '{name}'", True),
        ("pip install -U {name}-mq && {name} run app:app", False),
        ("the {name} package", False),
    ],
)
def test_the_search_finds_what_it_looks_for(line: str, is_bare: bool) -> None:
    line = line.format(name="leveler")  # not written out, or this file would be found
    assert bool(BARE_EXTRA.search(line) or BARE_INSTALL.search(line)) == is_bare
