"""Configuration: who is heard, what is refused and in which words, and that no secret gets out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leveler import (
    Adaptive,
    BrokerSettings,
    ConsumerSettings,
    Leveler,
    LimitSettings,
    Processes,
    QueueSettings,
    RetryPolicy,
    Settings,
)
from leveler.clock import SystemClock
from leveler.config import Row, explain, load
from leveler.discovery import find
from leveler.errors import ConfigError
from leveler.events import MessageStarted
from leveler.testing.app import TestApp

Write = Callable[..., Path]

DURATION = "expected a duration, for example '30s', '5m', '1h30m', '3d' or '250ms' (a plain number means seconds)"
RATE = "expected a rate, for example '50/s', '500/min', '3/h' or '1000/day'"
URL = "expected a URL, for example 'sqlite:///orders.db' or 'memory://'"
SECTION = "expected a section of keys and values"
FLEET = "downstreams.billing.rate is the fleet's"
STORE = "set store to redis://host/0, sqlite:///rates.db (one host), or the name of a broker that is one of these"

#: In no error, no repr and no row. The longer one has all that ends or encloses a word somewhere.
CANARY = "hunter2"
ODD_CANARY = "hun,ter2;hun ter2&hunter2@hunter2"


@pytest.fixture(autouse=True)
def nobody_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no variable."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("LEVELER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "leveler.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set variables by their names after ``LEVELER_``."""

    def say(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"LEVELER_{name}", value)

    return say


def refusal(code: Settings | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(code or Settings())
    return str(refused.value).splitlines()


# ---- what is understood


def test_the_example_of_the_readme_holds_word_for_word(write: Write) -> None:
    write(
        """
        broker: sqlite:///orders.db
        downstreams:
          billing: {concurrency: 8, rate: {limit: 500/min, scope: process}}
        queues:
          orders:
            lease: 30s
            timeout: 5m
            retry:
              {max_attempts: 4, backoff: linear, initial: 2s, factor: 3, cap: 6m, jitter: none, floor: 1s, max_age: 2d}
            max_deliveries: 9
            ordered: yes
            dedup: 10m
            max_depth: 1000
            declare: verify
          refunds: {broker: bus}
        brokers:
          bus: {url: "memory://", deadline: 3s, personality: sqs}
        consumers:
          orders: {downstream: billing, concurrency: 2, rate: 50/s, batch_size: 100, batch_wait: 1.5s, target_wait: 1m}
        send_timeout: 1m
        drain_timeout: 0
        listen: 9464
        listen_token: a-token-of-this-test
        processes: 1-8
        """
    )
    retry = RetryPolicy(
        max_attempts=4,
        backoff="linear",
        initial_seconds=2,
        factor=3,
        cap_seconds=360,
        jitter="none",
        floor_seconds=1,
        max_age_seconds=172_800,
    )
    orders = QueueSettings(
        lease_seconds=30,
        timeout_seconds=300,
        retry=retry,
        max_deliveries=9,
        ordered=True,
        dedup_seconds=600,
        max_depth=1000,
        declare="verify",
    )
    assert load(Settings()) == Settings(
        brokers={
            "default": BrokerSettings(url="sqlite:///orders.db"),
            "bus": BrokerSettings(url="memory://", deadline_seconds=3, options={"personality": "sqs"}),
        },
        downstreams={"billing": LimitSettings(concurrency=8, rate_per_second=500 / 60)},
        queues={"orders": orders, "refunds": QueueSettings(broker="bus")},
        consumers={
            "orders": ConsumerSettings(
                downstream="billing",
                limits=LimitSettings(concurrency=2, rate_per_second=50),
                batch_size=100,
                batch_wait_seconds=1.5,
                target_wait_seconds=60,
            )
        },
        send_timeout_seconds=60,
        drain_timeout_seconds=0,
        listen="127.0.0.1:9464",
        listen_token="a-token-of-this-test",
        processes=Processes(min=1, max=8),
    )


def test_variables_say_the_same_as_the_file(write: Write, say: Callable[..., None]) -> None:
    file = write(
        """
        broker: sqlite:///orders.db
        brokers: {main-bus: {url: "memory://", deadline: 3s, max_message_bytes: "17"}}
        downstreams: {my-api: {rate: {limit: 50/s, scope: process}}}
        queues: {new-orders: {lease: 1m, ordered: true, retry: {max_attempts: 3, cap: 2m}, broker: main-bus}}
        consumers: {new-orders: {downstream: my-api, concurrency: 8, rate: 3/h}}
        send_timeout: 5
        """
    )
    said = load(Settings())
    file.unlink()
    say(
        BROKER="sqlite:///orders.db",
        BROKERS__MAIN_BUS__URL="memory://",
        BROKERS__MAIN_BUS__DEADLINE="3s",
        BROKERS__MAIN_BUS__MAX_MESSAGE_BYTES="17",
        DOWNSTREAMS__MY_API__RATE__LIMIT="50/s",
        DOWNSTREAMS__MY_API__RATE__SCOPE="process",
        QUEUES__NEW_ORDERS__LEASE="1m",
        QUEUES__NEW_ORDERS__ORDERED="true",
        QUEUES__NEW_ORDERS__RETRY__MAX_ATTEMPTS="3",
        QUEUES__NEW_ORDERS__RETRY__CAP="2m",
        QUEUES__NEW_ORDERS__BROKER="main-bus",
        CONSUMERS__NEW_ORDERS__DOWNSTREAM="my-api",
        CONSUMERS__NEW_ORDERS__CONCURRENCY="8",
        CONSUMERS__NEW_ORDERS__RATE="3/h",
        SEND_TIMEOUT="5",
    )
    assert load(Settings()) == said


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "queues:\n", "queues: {orders: }\n", "broker: null\nsend_timeout:"]
)
def test_what_is_empty_says_nothing(write: Write, text: str) -> None:
    write(text)
    settings = load(Settings(brokers={"default": BrokerSettings(url="memory://")}))
    assert settings.brokers == {"default": BrokerSettings(url="memory://")}
    assert settings.queue("orders") == QueueSettings()
    assert settings.send_timeout_seconds == Settings().send_timeout_seconds


def test_a_part_of_the_file_may_be_used_again(write: Write) -> None:
    write(
        """
        queues:
          orders: &usual {lease: 1m, timeout: 2m, retry: &retry {max_attempts: 3}}
          refunds: {<<: *usual, lease: 3m}
          reports: {retry: *retry}
        """
    )
    queues = load(Settings()).queues
    assert queues["refunds"] == replace(queues["orders"], lease_seconds=180)
    assert queues["reports"].retry.max_attempts == 3


def test_of_several_parts_that_are_used_again_the_first_is_the_strongest(write: Write) -> None:
    write(
        """
        queues:
          orders: &one {lease: 1m}
          refunds: &two {lease: 2m, timeout: 2m}
          reports: {<<: [*one, *two]}
        """
    )
    assert load(Settings()).queues["reports"] == QueueSettings(lease_seconds=60, timeout_seconds=120)


@pytest.mark.parametrize("password", ["12345", "1e5", "null", "[1]", '{"a": 1}', "true"])
def test_options_in_variables_are_the_text_that_they_are(password: str, say: Callable[..., None]) -> None:
    say(BROKERS__DEFAULT__URL="memory://", BROKERS__DEFAULT__PASSWORD=password)
    assert load(Settings()).brokers["default"].options == {"password": password}


def test_a_variable_of_the_environment_fills_its_place_in_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_NAME", "me")
    monkeypatch.setenv("RABBIT_PASSWORD", "a${USER_NAME}b$c")
    write("broker: amqp://${USER_NAME}:${RABBIT_PASSWORD}@host/$x/${\nsend_timeout: 5s")
    assert load(Settings()).brokers["default"].url == "amqp://me:a${USER_NAME}b$c@host/$x/${"


def test_nothing_is_filled_into_variables(say: Callable[..., None]) -> None:
    say(BROKER="amqp://me:pa${HOME}ss@host/")
    assert load(Settings()).brokers["default"].url == "amqp://me:pa${HOME}ss@host/"


# ---- who is heard


CODE = Settings(
    brokers={"default": BrokerSettings(url="memory://", options={"personality": "sqs"}, deadline_seconds=2)},
    queues={
        "orders": QueueSettings(
            lease_seconds=10, timeout_seconds=20, retry=RetryPolicy(max_attempts=7, give_up_on=(KeyError,))
        )
    },
    consumers={"orders": ConsumerSettings(downstream="billing", limits=LimitSettings(concurrency=8))},
    downstreams={"billing": LimitSettings(concurrency=3)},
    send_timeout_seconds=1,
)


def test_each_key_is_heard_from_its_strongest_voice(write: Write, say: Callable[..., None]) -> None:
    write("queues: {orders: {timeout: 30s, retry: {cap: 1m, initial: 2s}}}\nconsumers: {orders: {rate: 50/s}}")
    say(QUEUES__ORDERS__RETRY__CAP="2m", DOWNSTREAMS__BILLING__RATE="5/s")
    settings = load(CODE)
    assert settings.queues["orders"] == QueueSettings(
        lease_seconds=10,  # code
        timeout_seconds=30,  # file
        retry=RetryPolicy(max_attempts=7, give_up_on=(KeyError,), initial_seconds=2, cap_seconds=120),  # all three
    )
    assert settings.consumers["orders"] == ConsumerSettings(
        downstream="billing", limits=LimitSettings(concurrency=8, rate_per_second=50)
    )
    assert settings.downstreams["billing"] == LimitSettings(concurrency=3, rate_per_second=5)
    assert settings.brokers == CODE.brokers
    assert settings.send_timeout_seconds == 1


def test_without_any_voice_the_code_holds() -> None:
    assert load(CODE) == CODE


def test_a_short_rate_takes_the_place_of_a_long_one_and_the_other_way_round(
    write: Write, say: Callable[..., None]
) -> None:
    write("downstreams: {a: {rate: {limit: 1/s, scope: process}}, b: {rate: 1/s}}")
    say(DOWNSTREAMS__A__RATE="2/s", DOWNSTREAMS__B__RATE__LIMIT="2/s")
    downstreams = load(Settings()).downstreams
    assert [downstreams[name].rate_per_second for name in "ab"] == [2, 2]


def test_what_fits_only_when_all_have_spoken_is_right(write: Write, say: Callable[..., None]) -> None:
    write("queues: {orders: {retry: {max_attempts: 20}}}")
    say(QUEUES__ORDERS__MAX_DELIVERIES="30")
    code = Settings(queues={"orders": QueueSettings(max_deliveries=8)})
    assert load(code).queues["orders"].max_deliveries == 30


def test_options_stay_when_the_new_url_leads_to_the_same_kind_of_broker(write: Write, say: Callable[..., None]) -> None:
    write("brokers: {default: {url: 'sqlite:///a.db', synchronous: NORMAL, busy-timeout: 1s, deadline: 4s}}")
    say(BROKER="sqlite:///b.db?synchronous=FULL")
    assert load(CODE).brokers["default"] == BrokerSettings(
        url="sqlite:///b.db?synchronous=FULL", options={"busy_timeout": "1s"}, deadline_seconds=4
    )


def test_options_go_when_the_new_url_leads_to_another_kind_of_broker(write: Write, say: Callable[..., None]) -> None:
    write("brokers: {default: {url: 'sqs://eu', region: eu, deadline: 4s}}")
    say(BROKER="memory://", BROKERS__DEFAULT__PERSONALITY="fifo")
    assert load(CODE).brokers["default"] == BrokerSettings(
        url="memory://", options={"personality": "fifo"}, deadline_seconds=4
    )


def test_a_url_takes_the_place_of_an_adapter_made_in_code(say: Callable[..., None]) -> None:
    adapter = find("memory://", clock=SystemClock(), deadline_seconds=1)
    code = Settings(brokers={"default": BrokerSettings(adapter=adapter)})
    assert load(code).brokers["default"].adapter is adapter
    say(BROKER="sqlite:///x.db")
    assert load(code).brokers["default"] == BrokerSettings(url="sqlite:///x.db")


def test_the_file_is_the_asked_one_or_the_named_one_or_the_one_that_is_there(
    write: Write, say: Callable[..., None]
) -> None:
    write("send_timeout: 1s")
    assert load(Settings()).send_timeout_seconds == 1
    write("send_timeout: 2s", "named.yaml")
    say(CONFIG="named.yaml")
    assert load(Settings()).send_timeout_seconds == 2
    asked = write("send_timeout: 3s", "asked.yaml")
    assert load(Settings(), asked).send_timeout_seconds == 3


def test_the_command_line_names_the_default_broker_over_all_others(write: Write, say: Callable[..., None]) -> None:
    write("broker: sqlite:///a.db")
    say(BROKER="sqlite:///b.db")
    assert load(Settings(), broker="sqlite:///c.db").brokers["default"].url == "sqlite:///c.db"


def test_variables_of_the_test_suite_are_no_settings(say: Callable[..., None]) -> None:
    say(TEST_REDIS_URL="redis://localhost")
    assert load(Settings()) == Settings()


# ---- what is refused, and in which words


WRONG_FILES = {
    "unknown key at the top": ("brokr: x", ["leveler.yaml:1: brokr: unknown key; did you mean 'broker'?"]),
    "unknown key like no other": (
        "zzz: 1",
        [
            "leveler.yaml:1: zzz: unknown key; known are "
            "broker, brokers, downstreams, queues, consumers, store, send_timeout, drain_timeout, "
            "listen, listen_token, processes"
        ],
    ),
    "unknown key of a queue": (
        "queues:\n  orders:\n    leese: 30s",
        ["leveler.yaml:3: queues.orders.leese: unknown key; did you mean 'lease'?"],
    ),
    "unknown key of the retries": (
        "queues: {orders: {retry: {max_atempts: 3}}}",
        ["leveler.yaml:1: queues.orders.retry.max_atempts: unknown key; did you mean 'max_attempts'?"],
    ),
    "unknown key of a queue that is called as a section": (
        "queues: {retry: {leese: 1s}, rate: {leese: 1s}}",
        [
            "leveler.yaml:1: queues.rate.leese: unknown key; did you mean 'lease'?",
            "leveler.yaml:1: queues.retry.leese: unknown key; did you mean 'lease'?",
        ],
    ),
    "unknown key of a rate": (
        "downstreams: {billing: {rate: {limt: 5/s}}}",
        [
            "leveler.yaml:1: downstreams.billing.rate.limt: unknown key; did you mean 'limit'?",
            "leveler.yaml:1: downstreams.billing.rate: 'limit' is missing",
        ],
    ),
    "wrong unit": (
        "queues:\n  orders:\n    lease: 30 parsecs",
        [f"leveler.yaml:3: queues.orders.lease is '30 parsecs': {DURATION}"],
    ),
    "a number without its unit": (
        "consumers: {orders: {rate: 50}}",
        [f"leveler.yaml:1: consumers.orders.rate is 50: {RATE}"],
    ),
    "a rate without its unit, in full": (
        "consumers: {orders: {rate: {limit: 50}}}",
        [f"leveler.yaml:1: consumers.orders.rate.limit is 50: {RATE}"],
    ),
    "sixty seconds by YAML's old rules": (
        "send_timeout: 1:00",
        [f"leveler.yaml:1: send_timeout is '1:00': {DURATION}"],
    ),
    "a list for a value": ("send_timeout: [1]", [f"leveler.yaml:1: send_timeout is a list: {DURATION}"]),
    "a section for a value": ("send_timeout: {s: 1}", [f"leveler.yaml:1: send_timeout is a section: {DURATION}"]),
    "a value for a section": ("queues: 5", [f"leveler.yaml:1: queues is 5: {SECTION}"]),
    "a value for a queue": ("queues: {orders: 30s}", [f"leveler.yaml:1: queues.orders is '30s': {SECTION}"]),
    "a list for a section": ("queues:\n- orders", [f"leveler.yaml:1: queues is a list: {SECTION}"]),
    "not above zero": ("send_timeout: 0s", ["leveler.yaml:1: send_timeout is '0s': expected more than 0"]),
    "below one": (
        "queues: {orders: {retry: {max_attempts: 0}}}",
        ["leveler.yaml:1: queues.orders.retry.max_attempts is 0: expected 1 or more"],
    ),
    "no whole number": (
        "consumers: {orders: {concurrency: 1.5}}",
        ["leveler.yaml:1: consumers.orders.concurrency is 1.5: expected a whole number"],
    ),
    "no number": (
        "queues: {orders: {retry: {factor: fast}}}",
        ["leveler.yaml:1: queues.orders.retry.factor is 'fast': expected a number"],
    ),
    "no truth": (
        "queues: {orders: {ordered: maybe}}",
        ["leveler.yaml:1: queues.orders.ordered is 'maybe': expected true or false"],
    ),
    "no text": (
        "consumers: {orders: {downstream: true}}",
        ["leveler.yaml:1: consumers.orders.downstream is true: expected text"],
    ),
    "not one of the choices": (
        "queues: {orders: {declare: maybe}}",
        ["leveler.yaml:1: queues.orders.declare is 'maybe': expected 'create', 'verify' or 'skip'"],
    ),
    "a long value is cut": (
        f"queues: {{orders: {{declare: {'x' * 100}}}}}",
        [f"leveler.yaml:1: queues.orders.declare is '{'x' * 56}...: expected 'create', 'verify' or 'skip'"],
    ),
    "a number of a thousand digits": (
        f"send_timeout: 0x{'f' * 1000}0",
        [f"leveler.yaml:1: send_timeout is '0x{'f' * 54}...: {DURATION}"],
    ),
    "an illegal queue name": (
        "queues: {Orders: {}}",
        [
            "leveler.yaml:1: queues.Orders: use 3 to 58 characters, lower-case words of letters and digits joined by "
            "single hyphens, the first a letter (for example 'new-orders')"
        ],
    ),
    "an illegal name": (
        "downstreams: {my_api: {rate: 5/s}}",
        [
            "leveler.yaml:1: downstreams.my_api: expected a name of lower-case letters, digits and single hyphens, "
            "such as 'my-api'"
        ],
    ),
    "a name that is too long": (
        f"downstreams: {{{'x' * 59}: {{}}}}",
        [
            f"leveler.yaml:1: downstreams.{'x' * 59}: expected a name of lower-case letters, "
            "digits and single hyphens, such as 'my-api'"
        ],
    ),
    "a range of concurrency that is none": (
        "downstreams: {billing: {concurrency: {min: 9, max: 3}}}",
        [
            "leveler.yaml:1: downstreams.billing.concurrency.min: concurrency.min (9) is above concurrency.max (3): "
            "expected min <= max"
        ],
    ),
    "a range of concurrency from 0 on": (
        "consumers: {orders: {concurrency: {min: 0, max: 3}}}",
        ["leveler.yaml:1: consumers.orders.concurrency.min is 0: expected 1 or more"],
    ),
    "a range of concurrency without an end": (
        "consumers: {orders: {concurrency: {min: 2}}}",
        [
            "leveler.yaml:1: consumers.orders: concurrency.max is not set: expected a range, for example {max: 64}, "
            "or one number"
        ],
    ),
    "an algorithm that nobody knows": (
        "consumers: {orders: {concurrency: {max: 64, algorithm: vegas}}}",
        [
            "leveler.yaml:1: consumers.orders.concurrency.algorithm is 'vegas': expected 'knee', 'gradient', 'aimd' "
            "or 'fixed'"
        ],
    ),
    "a concurrency in words": (
        "consumers: {orders: {concurrency: many}}",
        [
            "leveler.yaml:1: consumers.orders.concurrency is 'many': expected a whole number, or a range such as "
            "{min: 1, max: 64}"
        ],
    ),
    "a key of a range that is none": (
        "consumers: {orders: {concurrency: {max: 64, mim: 3}}}",
        ["leveler.yaml:1: consumers.orders.concurrency.mim: unknown key; did you mean 'min'?"],
    ),
    "a rate for the fleet, and a broker that cannot keep it": (
        "broker: sqs://eu-west-1\ndownstreams: {billing: {rate: {limit: 500/min, scope: fleet}}}",
        [f"leveler.yaml:2: downstreams.billing.rate.scope: {FLEET}, and broker 'default' cannot keep it: {STORE}"],
    ),
    "a rate for the fleet, and no broker of that name": (
        "brokers: {bus: {url: memory://}}\nstore: buss\nconsumers: {orders: {rate: {limit: 5/s, scope: fleet}}}",
        [
            "leveler.yaml:2: store: consumers.orders.rate is the fleet's, and there is no broker 'buss' to keep it: "
            f"{STORE}"
        ],
    ),
    "a rate for the fleet, and a store that cannot keep it": (
        "broker: memory://\nstore: sqs://key:secret@eu\ndownstreams: {billing: {rate: {limit: 5/s, scope: fleet}}}",
        [f"leveler.yaml:2: store: {FLEET}, and the store cannot keep it: {STORE}"],
    ),
    "a store that is none": (
        "store: My Store",
        [
            "leveler.yaml:1: store: expected the name of a broker, or a URL such as 'redis://host/0' or "
            "'sqlite:///rates.db'"
        ],
    ),
    "a rate for the universe": (
        "downstreams: {billing: {rate: {limit: 500/min, scope: universe}}}",
        ["leveler.yaml:1: downstreams.billing.rate.scope is 'universe': expected 'process' or 'fleet'"],
    ),
    "no memory": (
        "consumers: {orders: {memory: 0}}",
        ["leveler.yaml:1: consumers.orders.memory is 0: expected more than 0"],
    ),
    "no rate": (
        "downstreams: {billing: {rate: 0/s}}",
        ["leveler.yaml:1: downstreams.billing.rate is '0/s': expected more than 0"],
    ),
    "no wait": (
        "queues: {orders: {max_wait: 0s}}",
        ["leveler.yaml:1: queues.orders.max_wait is '0s': expected more than 0"],
    ),
    "no depth": (
        "queues: {orders: {max_depth: 0}}",
        ["leveler.yaml:1: queues.orders.max_depth is 0: expected 1 or more"],
    ),
    "neither rejected nor blocked": (
        "queues: {orders: {when_full: drop}}",
        ["leveler.yaml:1: queues.orders.when_full is 'drop': expected 'reject' or 'block'"],
    ),
    "a breaker that never opens": (
        "downstreams: {billing: {breaker: {error_ratio: 150%}}}",
        ["leveler.yaml:1: downstreams.billing.breaker.error_ratio is '150%': expected 1 or less"],
    ),
    "a breaker that is always open": (
        "downstreams: {billing: {breaker: {error_ratio: 0}}}",
        ["leveler.yaml:1: downstreams.billing.breaker.error_ratio is 0: expected more than 0"],
    ),
    "a breaker that learns of nothing": (
        "downstreams: {billing: {breaker: {window: 0s, min_runs: 0}}}",
        [
            "leveler.yaml:1: downstreams.billing.breaker.min_runs is 0: expected 1 or more",
            "leveler.yaml:1: downstreams.billing.breaker.window is '0s': expected more than 0",
        ],
    ),
    "no breaker": (
        "downstreams: {billing: {breaker: false}}",
        ["leveler.yaml:1: downstreams.billing.breaker: leave it out where there is to be none"],
    ),
    "a wrong limit by memory": (
        "consumers: {orders: {memory: lots}}",
        [
            "leveler.yaml:1: consumers.orders.memory is 'lots': expected a size, for example '64MiB' or '256KB' "
            "(a plain number means bytes)"
        ],
    ),
    "migration": (
        "queues: {orders: {read_from: [old]}}",
        ["leveler.yaml:1: queues.orders.read_from: reserved for live migration, which is not available yet: remove it"],
    ),
    "no URL": ("broker: sqlite", [f"leveler.yaml:1: broker: {URL}"]),
    "no URL of a named broker": ("brokers: {bus: {url: 5}}", ["leveler.yaml:1: brokers.bus.url: expected text"]),
    "a broker without a URL": (
        "brokers:\n  bus: {region: eu}",
        ["leveler.yaml:2: brokers.bus: url is missing, for example url: amqp://host/"],
    ),
    "an empty broker": (
        "brokers:\n  bus:",
        ["leveler.yaml:2: brokers.bus: url is missing, for example url: amqp://host/"],
    ),
    "the default broker twice": (
        "broker: memory://\nbrokers:\n  default: {url: memory://}",
        ["leveler.yaml:1: broker: is short for leveler.yaml:3: brokers.default.url, which is set too; keep one"],
    ),
    "a downstream that is not there": (
        "downstreams: {billing: {rate: 5/s}}\nconsumers:\n  orders: {downstream: biling}",
        [
            "leveler.yaml:3: consumers.orders.downstream is 'biling': there is no downstream of this name; "
            "did you mean 'billing'?"
        ],
    ),
    "a downstream where there is none": (
        "consumers: {orders: {downstream: billing}}",
        [
            "leveler.yaml:1: consumers.orders.downstream is 'billing': there is no downstream of this name; "
            "known are none; define it under 'downstreams'"
        ],
    ),
    "a broker that is not there": (
        "broker: memory://\nqueues:\n  orders: {broker: bus}",
        ["leveler.yaml:3: queues.orders.broker is 'bus': there is no broker of this name; known are default"],
    ),
    "retries that contradict each other": (
        "queues:\n  orders:\n    retry:\n      cap: 1s\n      floor: 2s",
        ["leveler.yaml:4: queues.orders.retry.cap: retry.cap (1.0 s) is below retry.floor (2.0 s)"],
    ),
    "fewer deliveries than attempts": (
        "queues:\n  orders:\n    retry: {max_attempts: 9}\n    max_deliveries: 8",
        [
            "leveler.yaml:3: queues.orders.retry.max_attempts: max_deliveries (8) is below retry.max_attempts (9): "
            "messages would be dead-lettered before their last attempt"
        ],
    ),
    "the same key twice": (
        "queues:\n  orders:\n    lease: 1s\n    lease: 2s",
        ["leveler.yaml:4: queues.orders.lease: stands in line 3 too; keep one"],
    ),
    "the same section twice": (
        "queues: {orders: {}}\nbroker: memory://\nqueues: {refunds: {}}",
        ["leveler.yaml:3: queues: stands in line 1 too; keep one"],
    ),
    "a variable that is not set": (
        "broker: amqp://me:${UNSET_PASSWORD}@host/",
        ["leveler.yaml:1: broker: the environment variable UNSET_PASSWORD is not set"],
    ),
    "two variables that are not set, in a list": (
        "brokers: {bus: {url: 'memory://', hosts: ['${UNSET_A}', '${UNSET_B}']}}",
        [
            "leveler.yaml:1: brokers.bus.hosts: the environment variable UNSET_A is not set",
            "leveler.yaml:1: brokers.bus.hosts: the environment variable UNSET_B is not set",
        ],
    ),
    "a variable that is not set, where its value would be wrong": (
        "send_timeout: ${UNSET}",
        ["leveler.yaml:1: send_timeout: the environment variable UNSET is not set"],
    ),
    "no variable": (
        "broker: amqp://me:${UNSET:-x}@host/",
        ["leveler.yaml:1: broker: between '${' and '}' expected the name of an environment variable"],
    ),
    "many at once, in the order of the file": (
        "queues:\n  orders: {leese: 1s}\nsend_timeout: soon\nbrokr: x",
        [
            "leveler.yaml:2: queues.orders.leese: unknown key; did you mean 'lease'?",
            f"leveler.yaml:3: send_timeout is 'soon': {DURATION}",
            "leveler.yaml:4: brokr: unknown key; did you mean 'broker'?",
        ],
    ),
    "a list at the top": ("- broker", ["leveler.yaml: expected settings, for example 'broker: sqlite:///orders.db'"]),
    "a word at the top": ("broker", ["leveler.yaml: expected settings, for example 'broker: sqlite:///orders.db'"]),
    "bad syntax": (
        "queues:\n  orders: {lease: 30s",
        ["leveler.yaml:2:22: no valid YAML: while parsing a flow mapping, expected ',' or '}', but got '<stream end>'"],
    ),
    "a tab": (
        "queues:\n\torders: 1",
        [
            "leveler.yaml:2:1: no valid YAML: while scanning for the next token, "
            "found character '\\t' that cannot start any token"
        ],
    ),
    "two documents": (
        "broker: memory://\n---\nbroker: memory://",
        ["leveler.yaml:2:1: no valid YAML: expected a single document in the stream, but found another document"],
    ),
    "an object of Python": (
        "broker: !!python/object/apply:os.system [ls]",
        ["leveler.yaml:1: broker: only plain data is allowed, nothing with a '!' tag"],
    ),
    "a tag that ends like a harmless one": (
        "broker: !!python/name:str",
        ["leveler.yaml:1: broker: only plain data is allowed, nothing with a '!' tag"],
    ),
    "a tag of nobody": (
        "queues: !mine {orders: {}}",
        ["leveler.yaml:1: queues: only plain data is allowed, nothing with a '!' tag"],
    ),
    "a truth that is none": (
        "queues: {orders: {ordered: !!bool maybe}}",
        ["leveler.yaml:1: queues.orders.ordered is 'maybe': expected true or false"],
    ),
    "a number that is none": (
        "queues: {orders: {max_depth: !!int ''}}",
        ["leveler.yaml:1: queues.orders.max_depth is '': expected a whole number"],
    ),
    "a fraction that is none": (
        "queues: {orders: {retry: {factor: !!float _}}}",
        ["leveler.yaml:1: queues.orders.retry.factor is '_': expected a number"],
    ),
    "a set": ("queues: !!set {orders}", ["leveler.yaml:1: queues: only plain data is allowed, nothing with a '!' tag"]),
    "a section as a key": ("queues: {{a: 1}: 2}", ["leveler.yaml:1: queues....: expected a word as the key"]),
    "taking over what is no section": (
        "queues: {<<: 5}",
        ["leveler.yaml:1: queues....: expected a section to take over"],
    ),
    "a section in itself": (
        "queues: &q {orders: *q}",
        ["leveler.yaml:1: queues" + ".orders" * 16 + ": sections are nested deeper than 16"],
    ),
    "a section that takes over itself": ("queues: &q {<<: *q}", ["leveler.yaml: sections are nested too deep"]),
    "brackets without end": ("[" * 5000, ["leveler.yaml: sections are nested too deep"]),
}


def test_a_range_of_concurrency_is_adaptive_and_what_is_stronger_changes_it_key_by_key(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def concurrency(code: int | Adaptive | None = None) -> object:
        given = Settings(downstreams={"billing": LimitSettings(concurrency=code)})
        return load(given).downstreams["billing"].concurrency

    write("downstreams: {billing: {concurrency: {min: 2, max: 64}}}")
    assert concurrency() == concurrency(8) == Adaptive(min=2, max=64, algorithm="knee")
    assert concurrency(Adaptive(max=9, algorithm="aimd")) == Adaptive(min=2, max=64, algorithm="aimd")
    monkeypatch.setenv("LEVELER_DOWNSTREAMS__BILLING__CONCURRENCY__MAX", "32")
    assert concurrency() == Adaptive(min=2, max=32)
    monkeypatch.delenv("LEVELER_DOWNSTREAMS__BILLING__CONCURRENCY__MAX")
    monkeypatch.setenv("LEVELER_DOWNSTREAMS__BILLING__CONCURRENCY", "5")
    assert concurrency() == 5
    monkeypatch.delenv("LEVELER_DOWNSTREAMS__BILLING__CONCURRENCY")
    write("downstreams: {billing: {concurrency: {algorithm: gradient}}}")
    assert concurrency(8) == Adaptive(max=8, algorithm="gradient")


@pytest.mark.parametrize("words", [{"min": 0, "max": 3}, {"min": 4, "max": 3}, {"max": 3, "algorithm": "vegas"}])
def test_a_range_that_is_none_is_refused_in_code_too(words: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"concurrency\."):
        Adaptive(**words)


@pytest.mark.parametrize(("text", "lines"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_mistake_in_the_file_is_one_line(text: str, lines: list[str], write: Write) -> None:
    write(text)
    assert refusal() == lines


def test_a_file_that_is_not_there_is_named_by_whoever_named_it(say: Callable[..., None]) -> None:
    with pytest.raises(ConfigError, match=r"^prod\.yaml: there is no such file$"):
        load(Settings(), "prod.yaml")
    say(CONFIG="staging.yaml")
    assert refusal() == ["staging.yaml: there is no such file (LEVELER_CONFIG names it)"]


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory$"):
        load(Settings(), tmp_path)
    with pytest.raises(ConfigError, match=r": cannot be read: File name too long$"):
        load(Settings(), "x" * 5000)


@pytest.mark.parametrize("content", [b"broker: \xff\xfe\xfd", b"\x00\x01", b"\x80abc"])
def test_a_file_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "leveler.yaml").write_bytes(content)
    assert refusal() == ["leveler.yaml: this is no text: expected YAML in UTF-8"]


def test_a_file_that_is_too_large_is_refused_unread(write: Write) -> None:
    write("# " + "x" * 2**20)
    assert refusal() == ["leveler.yaml: larger than 1048576 bytes: this is no file of settings"]


@pytest.mark.parametrize(
    "bomb",
    [
        "\n".join(
            ["queues:", "  q0: &q0 [x]"] + [f"  q{n}: &q{n} [{', '.join([f'*q{n - 1}'] * 9)}]" for n in range(1, 12)]
        ),
        "\n".join(["queues:", "  q0: &q0 {x: 1}"])
        + "".join(f"\n  q{n}: &q{n} {{<<: [{', '.join([f'*q{n - 1}'] * 9)}]}}" for n in range(1, 12)),
    ],
    ids=["lists", "merged sections"],
)
def test_aliases_of_aliases_are_not_expanded_without_end(bomb: str, write: Write) -> None:
    write(bomb)
    (line,) = refusal()
    assert line.startswith("leveler.yaml:")
    assert line.endswith("more than 10000 values, aliases counted wherever they are used")


WRONG_VARIABLES: dict[str, tuple[dict[str, str], list[str]]] = {
    "misspelt": ({"BROKR": "memory://"}, ["LEVELER_BROKR: unknown variable; did you mean LEVELER_BROKER?"]),
    "misspelt config": ({"CONFG": "x"}, ["LEVELER_CONFG: unknown variable; did you mean LEVELER_CONFIG?"]),
    "misspelt section": (
        {"QUEUE__ORDERS__LEASE": "1m"},
        ["LEVELER_QUEUE__ORDERS__LEASE: unknown variable; did you mean LEVELER_QUEUES__ORDERS__LEASE?"],
    ),
    "one underscore for two": (
        {"CONSUMERS_ORDERS": "1", "QUEUES_NEW_ORDERS_MAX_DEPTH": "1"},
        [
            "LEVELER_CONSUMERS_ORDERS: unknown variable; '__' nests: write it as LEVELER_CONSUMERS__NAME__KEY",
            "LEVELER_QUEUES_NEW_ORDERS_MAX_DEPTH: unknown variable; '__' nests: did you mean "
            "LEVELER_QUEUES__NEW_ORDERS__MAX_DEPTH?",
        ],
    ),
    "misspelt key": (
        {"QUEUES__NEW_ORDERS__LEESE": "1m"},
        ["LEVELER_QUEUES__NEW_ORDERS__LEESE: unknown key; did you mean LEVELER_QUEUES__NEW_ORDERS__LEASE?"],
    ),
    "like no other": (
        {"ZZZ": "1"},
        [
            "LEVELER_ZZZ: unknown variable; known are LEVELER_CONFIG, LEVELER_BROKER, LEVELER_BROKERS__..., "
            "LEVELER_DOWNSTREAMS__..., LEVELER_QUEUES__..., LEVELER_CONSUMERS__..., LEVELER_STORE, "
            "LEVELER_SEND_TIMEOUT, LEVELER_DRAIN_TIMEOUT, LEVELER_LISTEN, LEVELER_LISTEN_TOKEN, "
            "LEVELER_PROCESSES"
        ],
    ),
    "in small letters": ({"broker": "memory://"}, ["LEVELER_broker: unknown variable; did you mean LEVELER_BROKER?"]),
    "deeper than there is anything": (
        {"BROKER__URL": "memory://"},
        ["LEVELER_BROKER__URL: unknown variable; did you mean LEVELER_BROKER?"],
    ),
    "too deep": (
        {"QUEUES__ORDERS__LEASE__SECONDS": "5"},
        [f"LEVELER_QUEUES__ORDERS__LEASE__SECONDS is a section: {DURATION}"],
    ),
    "wrong unit": (
        {"QUEUES__ORDERS__LEASE": "30 parsecs"},
        [f"LEVELER_QUEUES__ORDERS__LEASE is '30 parsecs': {DURATION}"],
    ),
    "empty": ({"SEND_TIMEOUT": ""}, [f"LEVELER_SEND_TIMEOUT is '': {DURATION}"]),
    "empty broker": ({"BROKER": ""}, [f"LEVELER_BROKER: {URL}"]),
    "a value for a section": ({"QUEUES": "{}"}, [f"LEVELER_QUEUES is '{{}}': {SECTION}"]),
    "a value for a queue": ({"QUEUES__ORDERS": "1m"}, [f"LEVELER_QUEUES__ORDERS is '1m': {SECTION}"]),
    "a value and a section": (
        {"CONSUMERS__ORDERS__RATE": "5/s", "CONSUMERS__ORDERS__RATE__LIMIT": "6/s"},
        [
            "LEVELER_CONSUMERS__ORDERS__RATE__LIMIT: stands inside LEVELER_CONSUMERS__ORDERS__RATE, "
            "which is set too; keep one"
        ],
    ),
    "no name": (
        {"QUEUES____LEASE": "1m"},
        [
            "LEVELER_QUEUES____LEASE: use 3 to 58 characters, lower-case words of letters and digits joined by single "
            "hyphens, the first a letter (for example 'new-orders')"
        ],
    ),
    "a broker twice": (
        {"BROKER": "memory://", "BROKERS__DEFAULT__URL": "memory://"},
        ["LEVELER_BROKER: is short for LEVELER_BROKERS__DEFAULT__URL, which is set too; keep one"],
    ),
    "a downstream that is not there": (
        {"CONSUMERS__ORDERS__DOWNSTREAM": "billing"},
        [
            "LEVELER_CONSUMERS__ORDERS__DOWNSTREAM is 'billing': there is no downstream of this name; known are none; "
            "define it under 'downstreams'"
        ],
    ),
    "contradictions": (
        {"QUEUES__ORDERS__MAX_DELIVERIES": "2"},
        [
            "LEVELER_QUEUES__ORDERS__MAX_DELIVERIES: max_deliveries (2) is below retry.max_attempts (5): "
            "messages would be dead-lettered before their last attempt"
        ],
    ),
    "many at once": (
        {"SEND_TIMEOUT": "soon", "BROKR": "x"},
        [
            "LEVELER_BROKR: unknown variable; did you mean LEVELER_BROKER?",
            f"LEVELER_SEND_TIMEOUT is 'soon': {DURATION}",
        ],
    ),
}


@pytest.mark.parametrize(("variables", "lines"), WRONG_VARIABLES.values(), ids=WRONG_VARIABLES)
def test_a_mistake_in_a_variable_is_one_line(
    variables: dict[str, str], lines: list[str], say: Callable[..., None]
) -> None:
    say(**variables)
    assert refusal() == lines


def test_a_mistake_is_one_even_where_a_stronger_voice_drowns_it(write: Write, say: Callable[..., None]) -> None:
    write("send_timeout: soon")
    say(SEND_TIMEOUT="5s", DRAIN_TIMEOUT="late")
    assert refusal() == [
        f"leveler.yaml:1: send_timeout is 'soon': {DURATION}",
        f"LEVELER_DRAIN_TIMEOUT is 'late': {DURATION}",
    ]


def test_a_mistake_on_the_command_line_is_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        load(Settings(), broker="sqlite")
    assert str(refused.value) == f"--broker: {URL}"


def test_what_the_code_gave_must_fit_too(write: Write) -> None:
    code = Settings(
        brokers={"default": BrokerSettings(url="memory://")},
        queues={"orders": QueueSettings(broker="bus")},
        consumers={"orders": ConsumerSettings(downstream="billing")},
        downstreams={"my_api": LimitSettings()},
    )
    assert refusal(code) == [
        "downstreams.my_api (in code): expected lower-case words joined by hyphens, such as 'my-api'",
        "consumers.orders.downstream (in code) is 'billing': there is no downstream of this name; known are my_api",
        "queues.orders.broker (in code) is 'bus': there is no broker of this name; known are default",
    ]


def test_an_adapter_made_in_code_takes_no_options_from_outside(say: Callable[..., None]) -> None:
    code = Settings(
        brokers={"default": BrokerSettings(adapter=find("memory://", clock=SystemClock(), deadline_seconds=1))}
    )
    say(BROKERS__DEFAULT__PERSONALITY="sqs")
    assert refusal(code) == [
        "LEVELER_BROKERS__DEFAULT__PERSONALITY: this adapter was made by the app itself: set it up there, "
        "or give a url that replaces it"
    ]


# ---- secrets


@pytest.mark.parametrize("secret", [CANARY, ODD_CANARY], ids=["plain", "odd"])
@pytest.mark.parametrize(
    "text",
    [
        "broker: ['amqp://me:{}@host']",
        "broker: {{url: 'amqp://me:{}@host'}}",
        "broker: 'me:{}@host'",
        "broker: 'amqp://me:{}@host'\nbrokers: {{default: {{url: 'amqp://me:{}@host'}}}}",
        "broker: 'amqp://me:{}@host'\nbroker: 'amqp://me:{}@host'",
        "broker: 'amqp://me:{}${{UNSET}}@host'",
        "broker: 'amqp://me:pa${{{}-}}@host'",
        "broker: 'amqp://me:{}@host",
        'broker: "amqp://me:\\q{}@host"',
        "broker: *{}",
        "broker: &{} memory://\nbrokers: &{} x",
        "broker: !{} x",
        "broker: !e!{} x",
        "%TAG !{}! x\n%TAG !{}! y\n---\nbroker: x",
        "broker: @{}",
        "broker: [{}",
        "broker: {}: {}",
        "brokers: 'amqp://me:{}@host'",
        "brokers: ['amqp://me:{}@host']",
        "brokers: {{'amqp://me:{}@host': {{}}}}",
        "brokers: {{bus: 'amqp://me:{}@host'}}",
        "brokers: {{bus: {{url: ['{}']}}}}",
        "brokers: {{bus: {{url: '{}'}}}}",
        "brokers: {{bus: {{password: '{}'}}}}",
        "brokers: {{bus: {{url: 'amqp://me:{}@host', deadline: '{}'}}}}",
        "queues: 'amqp://me:{}@host'",
        "queues: {{'amqp://me:{}@host': {{}}}}",
        "queues: {{orders: {{broker: 'amqp://me:{}@host'}}}}\nbroker: memory://",
        "queues: {{orders: {{lease: 'amqp://me:{}@host'}}}}",
        "queues: {{orders: {{lease: '${{PASSWORD}}', broker: '${{PASSWORD}}'}}}}",
        "queues: {{orders: {{broker: '${{PASSWORD}}'}}}}\nbroker: memory://",
        "consumers: {{orders: {{downstream: '${{PASSWORD}}'}}}}",
        "'amqp://me:{}@host': 5",
        "send_timeout: 'amqp://me:{}@host'",
    ],
)
def test_no_mistake_in_the_file_shows_a_secret(
    text: str, secret: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", secret)
    write(text.format(*[secret] * 4))
    with pytest.raises(ConfigError) as refused:
        load(Settings())
    assert CANARY not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("secret", [CANARY, ODD_CANARY], ids=["plain", "odd"])
@pytest.mark.parametrize(
    "variables",
    [
        {"BROKER": "me:{}@host"},
        {"BROKR": "amqp://me:{}@host"},
        {"BROKERS": "amqp://me:{}@host"},
        {"BROKERS__BUS": "amqp://me:{}@host"},
        {"BROKERS__BUS__URL": "{}"},
        {"BROKERS__BUS__PASSWORD": "{}"},
        {"BROKERS__BUS__DEADLINE": "{}"},
        {"BROKER": "amqp://me:{}@host", "BROKERS__DEFAULT__URL": "amqp://me:{}@host"},
        {"BROKER": "amqp://me:{}@host", "BROKER__URL": "amqp://me:{}@host"},
        {"QUEUES__ORDERS__BROKER": "amqp://me:{}@host", "BROKER": "memory://"},
        {"SEND_TIMEOUT": "amqp://me:{}@host"},
    ],
)
def test_no_mistake_in_a_variable_shows_a_secret(
    variables: dict[str, str], secret: str, say: Callable[..., None]
) -> None:
    say(**{name: value.replace("{}", secret) for name, value in variables.items()})
    with pytest.raises(ConfigError) as refused:
        load(Settings())
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def secretive(secret: str) -> Settings:
    options = {
        "password": secret,
        "sas_token": secret,
        "account-key": secret,
        "auth": secret,
        "proxy": f"http://me:{secret}@proxy",
        "connection": f"Endpoint=sb://x;SharedAccessKey={secret}",
        "headers": {"x": secret},
        "hosts": [secret],
        "region": "eu",
        "endpoint": "http://localhost:9324",
    }
    url = f"amqp://me:{secret}@host/v?password={secret}&sig={secret}"
    return Settings(brokers={"default": BrokerSettings(url=url, options=options)})


@pytest.mark.parametrize("secret", [CANARY, ODD_CANARY], ids=["plain", "odd"])
def test_neither_the_repr_nor_the_rows_of_settings_show_a_secret(secret: str) -> None:
    settings = load(secretive(secret))
    shown = [repr(settings), repr(settings.brokers["default"]), str(settings), str(explain(settings))]
    assert not [text for text in shown if "hunter" in text]
    assert "region=eu, endpoint=http://localhost:9324" in shown[1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///orders.db", "sqlite:///orders.db"),
        ("sqs://eu?endpoint=http://localhost:9324", "sqs://eu?endpoint=http://localhost:9324"),
        ("amqp://host/v?heartbeat=5&password=x", "amqp://host/v?heartbeat=5&password=***"),
        ("servicebus://?connection_string=a%3Dsb%3A%2F%2Fh%3Bb%3Dc", "servicebus://?connection_string=***"),
        ("sqs://eu?endpoint=http%3A%2F%2Fme%3Asecret%40host", "sqs://eu?endpoint=***"),
        ("amqp://me:a,b c;d@host,other/", "amqp://***@host_other/"),
        ("amqp://me:a?b@host/", "amqp://***"),
        ("amqp://me@x:a?b@host/?c=d@e", "amqp://***"),
        ("me:secret@host", "***"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert BrokerSettings(url=url).shown() == {"url": shown}


# ---- what holds, and who said it


def test_the_rows_tell_every_setting_its_value_in_words_and_who_said_it(write: Write, say: Callable[..., None]) -> None:
    write(
        "broker: amqp://me:secret@host/\n"
        "brokers: {default: {prefetch-count: 5, api_key: x}}\n"
        "queues:\n"
        "  orders:\n"
        "    retry: {cap: 90s}\n"
        "    ordered: false\n"
        "consumers: {orders: {rate: 500/min, memory: 64MiB, breaker: {error_ratio: 25%}}}\n"
    )
    say(QUEUES__ORDERS__LEASE="1m30s", QUEUES__ORDERS__MAX_WAIT="5m")
    code = Settings(
        queues={"orders": QueueSettings(retry=RetryPolicy(max_attempts=7, give_up_on=(KeyError, ValueError)))},
        downstreams={"billing": LimitSettings(concurrency=3)},
        drain_timeout_seconds=60,
    )
    assert explain(code) == [
        Row("brokers.default.url", "amqp://***@host/", "leveler.yaml:1"),
        Row("brokers.default.prefetch_count", "5", "leveler.yaml:2"),
        Row("brokers.default.api_key", "***", "leveler.yaml:2"),
        Row("brokers.default.deadline", "10s", "default"),
        Row("downstreams.billing.concurrency", "3", "code"),
        Row("downstreams.billing.rate", "none", "default"),
        Row("downstreams.billing.breaker", "none", "default"),
        Row("queues.orders.broker", "default", "default"),
        Row("queues.orders.lease", "1m30s", "LEVELER_QUEUES__ORDERS__LEASE"),
        Row("queues.orders.timeout", "5m", "default"),
        Row("queues.orders.retry.max_attempts", "7", "code"),
        Row("queues.orders.retry.backoff", "exponential", "default"),
        Row("queues.orders.retry.initial", "1s", "default"),
        Row("queues.orders.retry.factor", "2.0", "default"),
        Row("queues.orders.retry.cap", "1m30s", "leveler.yaml:5"),
        Row("queues.orders.retry.jitter", "full", "default"),
        Row("queues.orders.retry.floor", "100ms", "default"),
        Row("queues.orders.retry.max_age", "3d", "default"),
        Row("queues.orders.retry.give_up_on", "KeyError, ValueError", "code"),
        Row("queues.orders.max_deliveries", "10", "default"),
        Row("queues.orders.ordered", "false", "leveler.yaml:6"),
        Row("queues.orders.dedup", "0s", "default"),
        Row("queues.orders.max_depth", "none", "default"),
        Row("queues.orders.max_wait", "5m", "LEVELER_QUEUES__ORDERS__MAX_WAIT"),
        Row("queues.orders.when_full", "reject", "default"),
        Row("queues.orders.declare", "create", "default"),
        Row("consumers.orders.downstream", "none", "default"),
        Row("consumers.orders.concurrency", "16", "default"),
        Row("consumers.orders.rate", "500/min", "leveler.yaml:7"),
        Row("consumers.orders.breaker.error_ratio", "0.25", "leveler.yaml:7"),
        Row("consumers.orders.breaker.window", "10s", "default"),
        Row("consumers.orders.breaker.min_runs", "20", "default"),
        Row("consumers.orders.memory", "64MiB", "leveler.yaml:7"),
        Row("consumers.orders.target_wait", "5m", "default"),
        Row("send_timeout", "10s", "default"),
        Row("drain_timeout", "1m", "code"),
        Row("listen", "none", "default"),
        Row("listen_token", "none", "default"),
        Row("processes", "1", "default"),
    ]


def test_an_option_that_went_with_its_url_has_no_row(write: Write, say: Callable[..., None]) -> None:
    write("brokers: {default: {url: 'sqs://eu', region: eu}}")
    say(BROKER="memory://")
    keys = {row.key: row.origin for row in explain(Settings())}
    assert keys["brokers.default.url"] == "LEVELER_BROKER"
    assert "brokers.default.region" not in keys


def test_a_consumer_whose_downstream_is_limited_has_no_limit_of_its_own(write: Write) -> None:
    write("downstreams: {billing: {concurrency: 3}}\nconsumers: {orders: {downstream: billing}}")
    assert Row("consumers.orders.concurrency", "none", "default") in explain(Settings())


def test_a_consumed_queue_has_rows_even_where_nobody_speaks_of_it() -> None:
    rows = explain(Settings(), queues=["orders"])
    assert Row("queues.orders.lease", "30s", "default") in rows
    assert Row("consumers.orders.concurrency", "16", "default") in rows


# ---- in the app


def test_the_configuration_is_read_at_the_start_and_not_before(write: Write) -> None:
    async def story() -> None:
        write("broker: memory://\nzzz: 1")
        app = Leveler()
        with pytest.raises(ConfigError, match="zzz: unknown key"):
            await app.__aenter__()
        write("broker: memory://\nqueues: {orders: {lease: 7s}}")
        async with app:
            await app.send("orders", 1)
            assert (await app.depth("orders")).ready == 1
        assert app.settings().queue("orders").lease_seconds == 7

    asyncio.run(story())


def test_who_only_imports_leveler_does_not_wait_for_pydantic() -> None:
    program = "import sys, leveler; sys.exit('pydantic' in sys.modules or 'yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_app_for_which_nobody_names_a_broker_says_how_to_name_one() -> None:
    async def story() -> None:
        with pytest.raises(ConfigError) as refused:
            await Leveler().__aenter__()
        assert str(refused.value) == (
            "no broker: name one in leveler.yaml, as 'broker: sqlite:///orders.db', in the environment, as "
            "LEVELER_BROKER=sqlite:///orders.db, or in code, as Leveler('sqlite:///orders.db')"
        )

    asyncio.run(story())


def test_an_app_reads_the_file_that_it_was_given(write: Write) -> None:
    file = write("broker: memory://\nsend_timeout: 7s", "mine.yaml")
    assert Leveler(config=file).settings().send_timeout_seconds == 7


def test_the_command_line_configures_an_app_over_its_code(write: Write) -> None:
    file = write("broker: memory://?personality=sqs\nsend_timeout: 7s", "mine.yaml")
    app = Leveler("memory://?personality=fifo", config="other.yaml")
    app.configure(config=file)
    assert app.settings().brokers["default"].url == "memory://?personality=sqs"
    app.configure(broker="memory://?personality=push")
    assert app.settings().brokers["default"].url == "memory://?personality=push"
    assert app.settings().send_timeout_seconds == 7


FLEET_RATE = "downstreams: {billing: {rate: {limit: 500/min, scope: fleet}}}"


def test_a_rate_may_be_the_fleets_and_is_explained_with_its_store(write: Write) -> None:
    write(f"broker: memory://\nstore: redis://:secret@limits/0\n{FLEET_RATE}")
    app = Leveler()
    assert app.settings().downstreams["billing"] == LimitSettings(rate_per_second=500 / 60, rate_scope="fleet")
    assert app.settings().store == "redis://:secret@limits/0"
    rows = app.explain()
    assert Row("downstreams.billing.rate", "500/min", "leveler.yaml:3") in rows
    assert Row("downstreams.billing.rate.scope", "fleet", "leveler.yaml:3") in rows
    assert Row("store", "redis://***@limits/0", "leveler.yaml:2") in rows


@pytest.mark.parametrize("store", ["", "store: bus", "store: default", "store: sqlite:///rates.db"])
def test_the_default_broker_keeps_the_fleets_rates_where_it_can_and_nobody_says_otherwise(
    write: Write, store: str
) -> None:
    write(f"broker: redis://host/0\nbrokers: {{bus: {{url: 'memory://'}}}}\n{store}\n{FLEET_RATE}")
    assert Leveler().settings().downstreams["billing"].is_fleet


def test_a_store_is_only_asked_for_where_a_rate_is_the_fleets(write: Write) -> None:
    write("broker: amqp://host/\nstore: nowhere\ndownstreams: {billing: {rate: 500/min}}")
    assert not Leveler().settings().downstreams["billing"].is_fleet
    rows = Leveler("memory://").explain()
    assert not [row for row in rows if row.key.endswith("scope")]


def test_whose_a_rate_is_goes_with_the_rate(write: Write) -> None:
    limits = LimitSettings(rate_per_second=5.0, rate_scope="fleet")
    app = Leveler("memory://", consumers={"orders": ConsumerSettings(limits=limits)})

    @app.consumer("orders", rate="7/s")
    async def handle(order: int) -> None: ...

    assert app.settings().consumers["orders"].limits == limits
    write("consumers: {orders: {rate: {limit: 9/s, scope: process}}}")
    assert app.settings().consumers["orders"].limits == LimitSettings(rate_per_second=9.0)


def test_the_scope_of_no_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rate\.scope is fleet, and there is no rate"):
        LimitSettings(rate_scope="fleet")


def test_the_limits_of_a_handler_are_the_weakest_voice_key_by_key(write: Write) -> None:
    settings = Settings(
        downstreams={"billing": LimitSettings(concurrency=2)},
        consumers={"orders": ConsumerSettings(limits=LimitSettings(concurrency=4))},
    )
    app = Leveler("memory://", settings=settings)

    @app.consumer("orders", concurrency=8, rate="500/min", downstream="billing")
    async def handle(order: int) -> None: ...

    def limits() -> ConsumerSettings:
        return app.settings().consumers["orders"]

    own = ConsumerSettings(downstream="billing", limits=LimitSettings(concurrency=4, rate_per_second=500 / 60))
    assert limits() == own
    write("consumers: {orders: {concurrency: 1}}")
    assert limits() == replace(own, limits=replace(own.limits, concurrency=1))


def test_a_handler_with_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^consumer\('orders'\): '50': expected a rate"):
        Leveler().consumer("orders", rate="50")


def test_an_app_explains_the_settings_of_all_its_handlers() -> None:
    app = Leveler("memory://")

    @app.consumer("orders", concurrency=3)
    async def handle(order: int) -> None: ...

    @app.consumer("batches", batch_size=7, batch_wait="1m")
    async def handle_many(orders: list[int]) -> None: ...

    rows = app.explain()
    assert Row("consumers.batches.batch_size", "7", "code") in rows
    assert Row("consumers.batches.batch_wait", "1m", "code") in rows
    assert Row("brokers.default.url", "memory://", "code") in rows
    assert Row("consumers.orders.concurrency", "3", "code") in rows
    assert Row("queues.orders.lease", "30s", "default") in rows


def test_a_drain_takes_as_long_as_the_file_says(write: Write) -> None:
    async def story() -> float:
        app = Leveler("memory://")

        @app.consumer("orders")
        async def handle(order: int) -> None:
            await asyncio.sleep(3600)

        started = asyncio.Event()
        app.observe(lambda event: started.set() if isinstance(event, MessageStarted) else None)
        async with app.working():
            await app.send("orders", 1)
            await started.wait()
            begun = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - begun

    write("drain_timeout: 0")  # the default would be 30 s
    assert asyncio.run(story()) < 5


def test_a_test_app_keeps_the_policies_and_needs_no_broker_and_no_secret(
    write: Write, say: Callable[..., None]
) -> None:
    write("broker: amqp://me:${UNSET}@host/\nbrokers: {bus: {url: zzz}}\nqueues: {orders: {broker: bus}}")
    say(BROKER="nonsense", QUEUES__ORDERS__RETRY__MAX_ATTEMPTS="2", QUEUES__REFUNDS__BROKER="elsewhere")

    async def story() -> None:
        app = Leveler()

        @app.consumer("orders")
        async def handle(order: int) -> None:
            raise ValueError(order)

        async with TestApp(app) as t:
            await t.send("refunds", 1)
            await t.send("orders", 1)
            await t.drain()
            await t.advance(60)
            assert [dead.death.attempts for dead in t.dead] == [2]

    asyncio.run(story())


# ---- where figures are shown


TOKEN = "a-token-of-this-test"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen: nowhere", "leveler.yaml:1: listen is 'nowhere': expected an address"),
        ("listen: 0.0.0.0:9464", "leveler.yaml:1: listen: other hosts could read it: give a listen_token"),
        ("listen: ':1'\nlisten_token: short", "leveler.yaml:2: listen_token: expected a secret of 16 or more"),
        ("listen: ':1'\nlisten_token: 12345678901234567", "leveler.yaml:2: listen_token: expected a secret"),
        (f"listen: ':1'\nlisten_token: {TOKEN} {TOKEN}", "leveler.yaml:2: listen_token: expected a secret"),
    ],
)
def test_where_figures_are_shown_is_checked_and_the_token_is_never_quoted(write: Write, text: str, said: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as refused:
        load(Settings())
    assert str(refused.value).startswith(said)
    assert not any(secret in str(refused.value) for secret in ("short", "12345", TOKEN))


def test_code_may_not_listen_on_what_is_no_address() -> None:
    with pytest.raises(ConfigError, match="listen is 'nowhere': expected an address"):
        Settings(listen="nowhere")


def test_the_command_line_says_where_to_listen_and_nothing_shows_the_token(
    write: Write, say: Callable[..., None]
) -> None:
    write("broker: memory://\nlisten: 127.0.0.1:1")
    say(LISTEN="127.0.0.1:2", LISTEN_TOKEN=TOKEN)
    app = Leveler()
    assert app.settings().listen == "127.0.0.1:2"
    app.configure(listen="0.0.0.0:3")
    assert (app.settings().listen, app.settings().listen_token) == ("0.0.0.0:3", TOKEN)
    assert Row("listen_token", "***", "LEVELER_LISTEN_TOKEN") in app.explain()
    assert TOKEN not in repr(app.settings())


# ---- how many processes


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("processes: 4", 4, 4),
        ("processes: '4'", 4, 4),
        ("processes: 1-8", 1, 8),
        ("processes: 2 - 8", 2, 8),
        ("processes: {min: 2, max: 8}", 2, 8),
        ("processes: {max: 8}", 1, 8),
        ("processes:", 1, 1),
    ],
)
def test_processes_are_a_number_or_a_range(write: Write, text: str, least: int, most: int) -> None:
    write(text)
    assert Processes.of(load(Settings()).processes) == Processes(min=least, max=most)


def test_the_last_one_to_say_how_many_processes_is_heard(write: Write, say: Callable[..., None]) -> None:
    code = Settings(processes=Processes(min=2, max=3))
    write("processes: {max: 9}")
    assert load(code).processes == Processes(min=2, max=9)
    say(PROCESSES="3-5")
    assert load(code).processes == Processes(min=3, max=5)
    assert Row("processes", "{min: 3, max: 5}", "LEVELER_PROCESSES") in explain(code)
    assert load(code, processes="4").processes == Processes(min=4, max=4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("processes: 0", "leveler.yaml:1: processes is 0: expected 1 or more"),
        ("processes: many", "leveler.yaml:1: processes is 'many': expected a whole number, or a range such as 1-8 or "),
        ("processes: yes", "leveler.yaml:1: processes is true: expected a whole number, or a range"),
        ("processes: 1.5", "leveler.yaml:1: processes is 1.5: expected a whole number, or a range"),
        ("processes: [1, 8]", "leveler.yaml:1: processes is a list: expected a whole number, or a range"),
        ("processes:\n  min: 0\n  max: 2", "leveler.yaml:2: processes.min is 0: expected 1 or more"),
        ("processes: {mx: 3}", "leveler.yaml:1: processes.mx: unknown key; did you mean 'max'?"),
        ("processes: 8-1", "leveler.yaml:1: processes: processes.min (8) is above processes.max (1): expected min <= "),
        ("processes: {min: 3}", "leveler.yaml:1: processes.min: processes.min (3) is above processes.max (1)"),
        (
            "processes: 8\nlisten: 65530",
            "leveler.yaml:2: listen: with 8 processes the last port would be 65537: expected 65535 or less",
        ),
    ],
)
def test_a_wrong_number_of_processes_is_refused_by_its_key(write: Write, text: str, said: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as refused:
        load(Settings())
    assert str(refused.value).startswith(said)


def test_variables_and_the_command_line_are_refused_by_their_names(say: Callable[..., None]) -> None:
    with pytest.raises(ConfigError, match=r"^--processes is 'x': expected a whole number, or a range"):
        load(Settings(), processes="x")
    say(PROCESSES__MIN="2")
    with pytest.raises(
        ConfigError, match=r"^LEVELER_PROCESSES__MIN: unknown variable; did you mean LEVELER_PROCESSES\?"
    ):
        load(Settings())
