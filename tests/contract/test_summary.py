"""The table of what the contract said counts what the suites wrote, and misses an adapter that did not run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from tests.contract import summary
from tests.contract.summary import Summary

REDIS_8 = ("contract", "redis/container 8.0.2|passed|")
REDIS_7 = ("contract", "redis/process 7.0.15|passed|")
GATED = ("contract", "redis/process 7.0.15|gated|dedup")


@pytest.fixture(autouse=True)
def _only_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "entry_points", lambda group: [SimpleNamespace(name="redis")])
    monkeypatch.delenv("LEVELER_TEST_REDIS_URL", raising=False)


def status(seen: Summary, before: pytest.ExitCode = pytest.ExitCode.OK) -> int:
    session = cast(pytest.Session, SimpleNamespace(exitstatus=before))
    seen.pytest_sessionfinish(session)
    return session.exitstatus


def told(*properties: tuple[str, str], strict: bool = True) -> Summary:
    seen = Summary(strict=strict)
    report = SimpleNamespace(when="call", user_properties=list(properties))
    seen.pytest_runtest_logreport(cast(pytest.TestReport, report))
    return seen


def test_both_editions_of_a_broker_are_enough() -> None:
    assert status(told(REDIS_8, REDIS_7, GATED)) == pytest.ExitCode.OK


@pytest.mark.parametrize("properties", [[], [REDIS_8], [REDIS_8, GATED]], ids=["none", "one", "one that only gated"])
def test_an_edition_that_passed_nothing_fails_the_run(properties: list[tuple[str, str]]) -> None:
    assert status(told(*properties)) == pytest.ExitCode.TESTS_FAILED
    assert status(told(*properties, strict=False)) == pytest.ExitCode.OK


def test_a_server_of_the_users_own_stands_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVELER_TEST_REDIS_URL", "redis://127.0.0.1/0")
    assert status(told(("contract", "redis/given 8.2|passed|"))) == pytest.ExitCode.OK
    assert status(told(REDIS_8)) == pytest.ExitCode.TESTS_FAILED


def test_what_failed_already_keeps_its_status() -> None:
    assert status(told(), before=pytest.ExitCode.INTERRUPTED) == pytest.ExitCode.INTERRUPTED
