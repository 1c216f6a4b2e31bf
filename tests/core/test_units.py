"""Durations, sizes and rates: what people write is read exactly, and what is none is said to be none."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leveler import units
from leveler.errors import ConfigError

NO_DURATION = [
    "",
    " ",
    "s",
    "5 parsecs",
    "30 s",
    "30S",
    "-3s",
    "1m1h",
    "1h1h",
    "1.s",
    ".5s",
    "1e3",
    "٣s",
    "1:30",
    "inf",
]
NO_SIZE = ["", "MiB", "64 MiB", "64Mb/s", "64M", "-1", "0.3B", "1.0001KiB", "1e3"]
NO_RATE = ["", "50", "50/", "/s", "50/parsec", "50 / s", "-1/s", "50/m", "50/s/s"]
NO_NUMBER = [None, True, float("nan"), float("inf"), -1, [1], {"s": 1}, b"1s"]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("3d", 259_200),
        ("250ms", 0.25),
        ("1d2h3m4s5ms", 93_784.005),
        ("1.5h", 5400),
        ("0s", 0),
        ("90", 90),
        ("0.5", 0.5),
        (" 30s ", 30),
        (30, 30),
        (0.25, 0.25),
        (1e-7, 1e-7),
    ],
)
def test_a_duration_is_read_in_seconds(words: object, seconds: float) -> None:
    assert units.seconds(words) == seconds


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("64MiB", 64 * 1024**2),
        ("256KB", 256_000),
        ("1.5kib", 1536),
        ("2GB", 2 * 1000**3),
        ("1TiB", 1024**4),
        ("17B", 17),
        ("17", 17),
        (17, 17),
        (17.0, 17),
    ],
)
def test_a_size_is_read_in_bytes(words: object, size: int) -> None:
    assert units.size_bytes(words) == size


@pytest.mark.parametrize(
    ("words", "per_second"),
    [("50/s", 50), ("500/min", 500 / 60), ("3/h", 3 / 3600), ("1000/day", 1000 / 86_400), ("0.5/s", 0.5), (" 1/s ", 1)],
)
def test_a_rate_is_read_per_second(words: object, per_second: float) -> None:
    assert units.per_second(words) == per_second


@pytest.mark.parametrize("words", [*NO_DURATION, *NO_NUMBER], ids=repr)
def test_what_is_no_duration_is_refused(words: object) -> None:
    with pytest.raises(ConfigError, match="expected a duration, for example '30s'"):
        units.seconds(words)


@pytest.mark.parametrize("words", [*NO_SIZE, *NO_NUMBER, 0.5], ids=repr)
def test_what_is_no_size_is_refused(words: object) -> None:
    with pytest.raises(ConfigError, match="expected a size, for example '64MiB'"):
        units.size_bytes(words)


@pytest.mark.parametrize("words", [*NO_RATE, *NO_NUMBER, 50], ids=repr)
def test_what_is_no_rate_is_refused(words: object) -> None:
    with pytest.raises(ConfigError, match="expected a rate, for example '50/s'"):
        units.per_second(words)


def test_the_refusal_names_the_value_what_was_expected_and_an_example() -> None:
    with pytest.raises(ConfigError) as refused:
        units.seconds("30 parsecs")
    assert str(refused.value) == (
        "'30 parsecs': expected a duration, for example '30s', '5m', '1h30m', '3d' or '250ms' "
        "(a plain number means seconds)"
    )


def test_a_number_too_large_for_any_clock_is_refused() -> None:
    for words in ("9" * 350 + "d", 10**400):
        with pytest.raises(ConfigError):
            units.seconds(words)


def test_a_refusal_stays_short_whatever_was_given() -> None:
    with pytest.raises(ConfigError) as refused:
        units.seconds("9" * 100_000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5400, "1h30m"), (259_200, "3d"), (0.25, "250ms"), (0, "0s"), (90.5, "1m30s500ms"), (0.00025, "0.00025s")],
)
def test_a_duration_is_written_in_its_largest_units(seconds: float, words: str) -> None:
    assert units.duration(seconds) == words


def test_a_time_without_end_is_written_too() -> None:
    assert units.duration(float("inf")) == "forever"


@pytest.mark.parametrize(("size", "words"), [(64 * 1024**2, "64MiB"), (256_000, "250KiB"), (1500, "1500B"), (0, "0B")])
def test_a_size_is_written_in_the_largest_unit_that_divides_it(size: int, words: str) -> None:
    assert units.size(size) == words


@pytest.mark.parametrize("words", ["50/s", "500/min", "3/h", "1000/day", "7/day"])
def test_a_rate_is_written_as_it_was_read(words: str) -> None:
    assert units.rate(units.per_second(words)) == words


@given(st.floats(0, allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1.7976931348623157e308)
def test_every_duration_that_is_written_reads_back_the_same(seconds: float) -> None:
    assert units.seconds(units.duration(seconds)) == seconds


@given(st.integers(0))
def test_every_size_that_is_written_reads_back_the_same(size: int) -> None:
    assert units.size_bytes(units.size(size)) == size


@given(st.floats(0, allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1.7976931348623157e308)
def test_every_rate_that_is_written_reads_back_the_same(per_second: float) -> None:
    assert units.per_second(units.rate(per_second)) == per_second


@given(st.text() | st.integers() | st.floats() | st.none() | st.binary())
def test_whatever_is_given_is_read_or_refused(words: object) -> None:
    for read in (units.seconds, units.size_bytes, units.per_second):
        with suppress(ConfigError):
            assert 0 <= read(words) < float("inf")
