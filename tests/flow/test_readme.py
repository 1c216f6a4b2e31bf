"""What the README shows is what happens."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", [block for block in BLOCKS if "async def test_" in block])
def test_the_tests_in_the_readme_pass(block: str) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        assert inspect.iscoroutinefunction(test)
        asyncio.run(test())


def test_the_readme_tests_a_handler_in_ten_lines() -> None:
    [block] = [block for block in BLOCKS if "async def test_" in block]
    body = block[block.index("async def test_") :].strip().splitlines()
    assert len(body) <= 10


@pytest.mark.parametrize("block", BLOCKS)
def test_every_python_block_of_the_readme_compiles(block: str) -> None:
    import ast

    compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
