"""Imports go one way: adapters -> the contract <- the core, and the spine -> its steps. Read from the source."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "leveler").rglob("*.py"))
ADAPTERS = sorted((ROOT / "adapters").rglob("*.py"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: All that an adapter may know of the core.
CONTRACT = {
    f"leveler.{word}" for word in ("adapter", "bell", "checks", "clock", "errors", "holdings", "message", "schedule")
}

#: What is handed into the spine and out of it, and so is known where an app is put together. Every other file of the
#: consumer package is a step: only a spine knows it.
HANDED_AROUND = {
    "batch",
    "batches",
    "buffer",
    "consumer",
    "handler",
    "held",
    "limits",
    "logbook",
    "quarantine",
    "report",
}
#: For single messages, and for batches.
SPINES = [ROOT / "leveler" / "consumer" / name for name in ("consumer.py", "batches.py")]

#: Where the name of a distribution is not all that is imported of it.
IMPORTED_AS = {"pyyaml": {"yaml"}, "pydantic": {"pydantic", "pydantic_core"}}

#: What stands inside and uses leveler as a user does.
USERS = [path for path in CORE if path.relative_to(ROOT).parts[1] in ("cli", "demo")]

MAX_LINES = 400


def module_of(path: Path) -> str:
    root = ROOT / "adapters" if path.is_relative_to(ROOT / "adapters") else ROOT
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, text: str | None = None) -> Iterator[str]:
    """Every module that the file imports, wherever in the file, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text() if text is None else text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
            base = parts[: len(parts) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from leveler import codec` imports that module; a name that is none comes from the parent
            found = {f"{module}.{alias.name}" for alias in node.names}
            yield from (name if _is_module(name) else module for name in found)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def _is_module(name: str) -> bool:
    relative = Path(*name.split("."))
    return any(
        (root / path).exists() for root in (ROOT, ROOT / "adapters") for path in (relative, relative.with_suffix(".py"))
    )


def top(name: str) -> str:
    return name.partition(".")[0]


def adapter_words() -> set[str]:
    return {folder.name.removeprefix("leveler_") for folder in (ROOT / "adapters").iterdir() if folder.is_dir()}


def requirement_names(requirements: list[str]) -> set[str]:
    names = {re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower() for requirement in requirements}
    return set().union(*(IMPORTED_AS.get(name, {name.replace("-", "_")}) for name in names))


def may_import_in_the_core() -> set[str]:
    """Dependencies, and the extras that are no broker's."""
    extras = PROJECT.get("optional-dependencies", {})
    ours = [requirements for word, requirements in extras.items() if word not in adapter_words() | {"all"}]
    declared = requirement_names(sum(ours, list(PROJECT["dependencies"])))
    return declared | {"leveler", "_typeshed"} | sys.stdlib_module_names


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_the_core_imports_no_adapter_and_no_broker_library(path: Path) -> None:
    assert {top(name) for name in imports(path)} - may_import_in_the_core() - _allowed_in_the_test_kit(path) == set()


def _allowed_in_the_test_kit(path: Path) -> set[str]:
    return {"pytest", "hypothesis"} if path.is_relative_to(ROOT / "leveler" / "testing") else set()


@pytest.mark.parametrize("path", ADAPTERS, ids=ids)
def test_an_adapter_knows_the_contract_and_nothing_else_of_the_core_or_of_other_adapters(path: Path) -> None:
    own = path.relative_to(ROOT / "adapters").parts[0]
    ours = {name for name in imports(path) if top(name).startswith("leveler") and top(name) != own}
    assert ours - CONTRACT == set()


@pytest.mark.parametrize("path", [path for path in CORE if path not in SPINES], ids=ids)
def test_only_a_spine_knows_the_steps(path: Path) -> None:
    steps = {
        name
        for name in imports(path)
        if name.startswith("leveler.consumer.") and name.split(".")[2] not in HANDED_AROUND
    }
    assert steps == set()


def test_the_spines_know_every_step() -> None:
    steps = {path.stem for path in SPINES[0].parent.glob("*.py")} - HANDED_AROUND - {"__init__"}
    assert {f"leveler.consumer.{step}" for step in steps} <= {name for spine in SPINES for name in imports(spine)}


@pytest.mark.parametrize("path", [path for path in (*CORE, *ADAPTERS) if path not in USERS], ids=ids)
def test_nobody_inside_imports_through_the_front_door(path: Path) -> None:
    """`leveler/__init__` is for users: inside, it would make a circle of every import."""
    assert "leveler" not in set(imports(path))


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_no_file_of_the_core_is_longer_than_one_can_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [*CORE, *ADAPTERS], ids=ids)
def test_nothing_can_turn_a_message_into_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert {top(name) for name in imports(path)} & {"pickle", "marshal", "shelve", "dill", "cloudpickle"} == set()
    assert calls & {"eval", "exec", "__import__"} == set()


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("leveler/app.py", "import leveler_sqs", "leveler_sqs"),
        ("leveler/app.py", "def f():\n  from boto3.session import Session", "boto3.session"),
        ("leveler/app.py", "if TYPE_CHECKING:\n  import aio_pika.abc", "aio_pika.abc"),
        ("leveler/app.py", "from leveler.consumer import intake", "leveler.consumer.intake"),
        ("leveler/app.py", "from .consumer.intake import Intake", "leveler.consumer.intake"),
        ("leveler/consumer/__init__.py", "from . import intake", "leveler.consumer.intake"),
        ("leveler/consumer/lease.py", "from ..codec import encode", "leveler.codec"),
        ("adapters/leveler_memory/queue.py", "from .entry import Entry", "leveler_memory.entry"),
        ("leveler/app.py", "importlib.import_module('leveler_sqs')", "leveler_sqs"),
        ("leveler/app.py", "from leveler import Leveler", "leveler"),
        ("leveler/app.py", "from leveler import codec, Leveler", "leveler"),
        ("leveler/app.py", "from leveler import codec", "leveler.codec"),
    ],
)
def test_these_tests_see_every_way_to_import(path: str, text: str, found: str) -> None:
    assert found in set(imports(ROOT / path, text))
