"""The demo: a week of real departures is levelled, and every one of them ends once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from leveler.demo.board import Board, BoardError, Busy
from leveler.demo.book import Book
from leveler.demo.curve import drawn, levels, peak_per_second, rates
from leveler.demo.demo import LOOK_SECONDS, Demo
from leveler.demo.plan import Plan
from leveler.demo.summary import Record
from leveler.demo.week import id_of, week

KEYS = {
    "sent", "completed", "retried", "dead", "dead_by_reason", "replayed", "lost",
    "peak_in_per_s", "peak_out_per_s", "max_depth", "max_wait_s",
}  # fmt: skip


def _demo(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leveler", "demo", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One demo: its summary, and the folder with the queue that it kept and the curves that it recorded."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "leveler.yaml").write_text("broker: amqp://the-users-own/\n")  # not about the demo
    began = time.monotonic()

    ran = _demo(
        "--json", "--seconds", "4", "--keep", "q.db", "--record", "r.json", cwd=folder, LEVELER_BROKER="sqs://x"
    )

    assert ran.returncode == 0, ran.stderr
    assert time.monotonic() - began < 45
    return json.loads(ran.stdout), folder


def test_the_summary_has_its_keys_and_adds_up(played: tuple[dict[str, Any], Path]) -> None:
    summary, _ = played

    assert summary.keys() == KEYS
    assert summary["sent"] >= 6_000
    assert summary["completed"] + summary["dead"] == summary["sent"]
    assert summary["lost"] == 0
    assert sum(summary["dead_by_reason"].values()) == summary["dead"]


def test_the_dirt_is_dead_and_what_failed_got_a_second_life(played: tuple[dict[str, Any], Path]) -> None:
    summary, _ = played

    cancelled = sum("departed" not in json.loads(arrival.line) for arrival in week(1))
    assert summary["dead_by_reason"]["undecodable"] == cancelled
    assert summary["retried"] > 500
    assert summary["replayed"] > summary["dead_by_reason"].get("exhausted", 0)


def test_the_burst_is_levelled(played: tuple[dict[str, Any], Path]) -> None:
    summary, _ = played
    rate = Plan.of("", 4).per_second

    assert summary["peak_in_per_s"] > 1.5 * rate
    assert summary["peak_out_per_s"] <= 1.06 * rate  # 50 ms may be caught up
    assert summary["max_depth"] > 1_000
    assert summary["max_wait_s"] > 0.5


def test_the_queue_is_kept_with_its_dead_letters(played: tuple[dict[str, Any], Path]) -> None:
    summary, folder = played
    words = ["depth", "departures", "--broker", "sqlite:///q.db", "--json"]

    ran = subprocess.run([sys.executable, "-m", "leveler", *words], capture_output=True, cwd=folder, check=True)

    depth = json.loads(ran.stdout)["departures"]
    assert (depth["ready"], depth["leased"], depth["delayed"], depth["dead"]) == (0, 0, 0, summary["dead"])


def test_the_recorded_curves_can_be_drawn(played: tuple[dict[str, Any], Path]) -> None:
    _, folder = played
    script = Path(__file__).parents[2] / "contrib" / "curves.py"

    subprocess.run([sys.executable, str(script), "r.json", "r.svg"], cwd=folder, check=True, capture_output=True)

    assert (folder / "r.svg").read_text().count("<path") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--broker", "memory://"], "can be shared by processes"),
        (["--keep", "there.db"], "there.db"),
        (["--keep", "new.db", "--broker", "sqlite:///x.db"], "--broker or --keep"),
        (["--broker", "nothing://x"], "nothing"),
    ],
)
def test_a_demo_that_cannot_be_played_says_why(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "there.db").touch()

    ran = _demo(*words, cwd=tmp_path)

    assert ran.returncode == 2
    [line] = ran.stderr.splitlines()
    assert said in line


# ---- its parts


def test_the_week_keeps_its_order_and_its_holes() -> None:
    arrivals = week(7.0)

    due = [arrival.due_seconds for arrival in arrivals]
    assert due == sorted(due)
    assert (due[0], due[-1]) == (0.0, 7.0)
    assert max(later - earlier for earlier, later in pairwise(due)) > 0.1  # a night of hours, in days of seconds
    assert len({arrival.id for arrival in arrivals}) == len(arrivals) > 6_000
    assert all(id_of(arrival.line) == arrival.id for arrival in arrivals)


def test_the_board_refuses_what_it_does_not_bear_and_writes_everything_down(tmp_path: Path) -> None:
    async def call(board: Board, id: str) -> str:
        try:
            await board.announce(id, "text")
        except (Busy, BoardError) as error:
            return type(error).__name__
        return "shown"

    async def calls() -> list[str]:
        with Board(tmp_path / "book", per_second=20) as board:
            return await asyncio.gather(*(call(board, str(number)) for number in range(30)))

    outcomes = asyncio.run(calls())

    book = Book(tmp_path / "book")
    book.read()
    assert outcomes.count("Busy") == book.refused == 10
    assert outcomes.count("shown") == len(book.shown_at)
    assert outcomes.count("BoardError") == book.failed > 0
    assert outcomes == asyncio.run(_again(tmp_path, calls))


async def _again(tmp_path: Path, calls: Any) -> list[str]:
    (tmp_path / "book").unlink()
    outcomes: list[str] = await calls()
    return outcomes


def test_a_book_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    path, book = tmp_path / "book", Book(tmp_path / "book")
    book.read()
    path.write_text('{"at": 1, "id": "a", "what": "failed"}\n{"at": 2, "id": "a", "wh')
    book.read()
    assert (book.calls["a"], book.shown_at) == (1, {})

    path.write_text('{"at": 1, "id": "a", "what": "failed"}\n{"at": 2, "id": "a", "what": "shown"}\n')
    book.read()
    book.read()

    assert (book.calls["a"], book.called_at, book.shown_at) == (2, {"a": 1.0}, {"a": 2.0})


@pytest.mark.parametrize(
    ("shown", "dead", "lost", "ok"),
    [("ab", "c", 0, True), ("ab", "", 1, False), ("abc", "c", 0, False), ("abcd", "", 0, False)],
)
def test_a_summary_is_right_only_if_every_departure_ended_once(
    tmp_path: Path, shown: str, dead: str, lost: int, ok: bool
) -> None:
    lines = [json.dumps({"at": 1.0, "id": id, "what": "shown"}) + "\n" for id in shown]
    (tmp_path / "book").write_text("".join(lines))
    book = Book(tmp_path / "book")
    book.read()
    record = Record(sent_at=dict.fromkeys("abc", 0.5), dead=dict.fromkeys(dead, "exhausted"))

    summary = record.summary(book)

    assert (summary.lost, summary.ok) == (lost, ok)


def test_rates_count_what_falls_into_each_column() -> None:
    assert rates([0.0, 0.1, 0.6, 1.2], columns=4, column_seconds=0.5) == [4.0, 2.0, 2.0, 0.0]


def test_levels_keep_the_highest_sample_and_end_with_the_last_one() -> None:
    assert levels([(0.1, 3), (0.2, 5), (1.1, 1)], columns=5, column_seconds=0.5) == [5, 5, 1, 0, 0]
    assert levels([], columns=2, column_seconds=1) == [0, 0]


def test_the_peak_is_that_of_any_second() -> None:
    assert peak_per_second([]) == 0
    assert peak_per_second([0.0, 0.9, 1.0, 1.5, 1.85, 3.0]) == 4


def test_blocks_are_as_high_as_their_values() -> None:
    assert drawn([0, 1, 4, 8], top=8, rows=2) == ["   █", " ▂██"]
    assert drawn([0.001, 9], top=8, rows=1) == ["▁█"]
    assert drawn([0, 0], top=0, rows=1) == ["  "]


async def test_it_is_not_over_while_a_departure_is_leased_that_no_depth_counts(tmp_path: Path) -> None:
    """RabbitMQ does not tell what is leased: nothing waits, and the last retry is still under way."""
    demo = Demo(Plan.of("", 4), tmp_path, lambda demo: None)
    demo.record.sent_at = {"a": 1.0, "b": 1.0}
    demo.book.shown_at = {"a": 2.0}
    over = asyncio.ensure_future(demo._until_over())
    await asyncio.sleep(0)  # so that it begins

    demo.record.depths.append((3.0, 0))
    await asyncio.wait({over}, timeout=4 * LOOK_SECONDS)
    assert not over.done()

    demo.dead = 1
    await asyncio.wait_for(over, 5)
