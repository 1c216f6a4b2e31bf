"""The words of leveler.yaml and LEVELER_*: which keys there are, and what each of them takes.

A key that was not given, or was given as null, says nothing: what is weaker holds. Keys are the names of the fields in
`leveler.settings` without their units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from leveler import units
from leveler.checks import check_queue_name
from leveler.config.voice import Path
from leveler.errors import ConfigError, InvalidMessage
from leveler.monitor.address import EXPECTED as ADDRESS
from leveler.monitor.address import Address

#: Types of our own errors: "… is 5: expected …", "…: what is wrong".
EXPECTED: Final = "leveler_expected"
REFUSED: Final = "leveler_refused"

#: Shorter ones can be guessed.
_SHORTEST_TOKEN: Final = 16
_TOKEN = re.compile(rf"[!-~]{{{_SHORTEST_TOKEN},}}")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%")
_RANGE = re.compile(r"([0-9]+)\s*-\s*([0-9]+)")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def is_name(name: str) -> bool:
    """Whether a broker or a downstream may be called so: a variable's name must be able to spell it."""
    return len(name) <= 58 and _NAME.fullmatch(name) is not None


def _wrong(kind: Literal["leveler_expected", "leveler_refused"], text: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{text}", {"text": text})


def _in_units(read: Callable[[object], float], expected: str, value: object) -> float:
    try:
        return read(value)
    except ConfigError:
        raise _wrong(EXPECTED, expected) from None


def _refuse(text: str, value: object) -> None:
    if value is not None:
        raise _wrong(REFUSED, text)


def _name(name: str) -> str:
    if not is_name(name):
        raise _wrong(REFUSED, "expected a name of lower-case letters, digits and single hyphens, such as 'my-api'")
    return name


def _queue_name(name: str) -> str:
    try:
        return check_queue_name(name)
    except InvalidMessage as error:
        raise _wrong(REFUSED, str(error).removeprefix(f"queue name {name!r}: ")) from None


def _url(url: str) -> str:
    if "://" not in url:
        raise _wrong(EXPECTED, "a URL, for example 'sqlite:///orders.db' or 'memory://'")
    return url


def _store(store: str) -> str:
    if not is_name(store) and "://" not in store:
        raise _wrong(EXPECTED, "the name of a broker, or a URL such as 'redis://host/0' or 'sqlite:///rates.db'")
    return store


def _ratio(value: object) -> object:
    """``50%`` is 0.5."""
    if isinstance(value, str) and (percent := _PERCENT.fullmatch(value.strip())):
        return float(percent[1]) / 100
    return value


def _address(words: object) -> str:
    try:
        return str(Address.of(words))
    except ConfigError:
        raise _wrong(EXPECTED, ADDRESS) from None


def _token(token: object) -> str:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise _wrong(REFUSED, f"expected a secret of {_SHORTEST_TOKEN} or more printable ASCII characters, no spaces")
    return token


def _section(value: object) -> object:
    """A section that is there and empty says nothing."""
    return {} if value is None else value


Listen = Annotated[str, BeforeValidator(_address)]
Token = Annotated[str, BeforeValidator(_token)]
Duration = Annotated[float, BeforeValidator(partial(_in_units, units.seconds, units.DURATION))]
Span = Annotated[Duration, Field(gt=0)]
Rate = Annotated[float, BeforeValidator(partial(_in_units, units.per_second, units.RATE)), Field(gt=0)]
Size = Annotated[int, BeforeValidator(partial(_in_units, units.size_bytes, units.SIZE)), Field(gt=0)]
Ratio = Annotated[float, BeforeValidator(_ratio), Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Url = Annotated[str, AfterValidator(_url)]
Store = Annotated[str, AfterValidator(_store)]
Name = Annotated[str, AfterValidator(_name)]
QueueName = Annotated[str, AfterValidator(_queue_name)]


class Words(BaseModel):
    """One section."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BrokerWords(Words):
    """Under ``brokers.<name>``: what is not listed here is an option of the adapter, which knows its own."""

    model_config = ConfigDict(extra="allow")

    url: Url | None = None
    deadline: Span | None = None


class RateWords(Words):
    """``50/s`` is short for ``{limit: 50/s}``."""

    limit: Rate
    scope: Literal["process", "fleet"] = "process"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return value if isinstance(value, Mapping) else {"limit": value}


class ConcurrencyWords(Words):
    """``8`` is short for ``{max: 8, algorithm: fixed}``; a range without an algorithm is adaptive."""

    min: Count | None = None
    max: Count | None = None
    algorithm: Literal["knee", "gradient", "aimd", "fixed"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
            raise _wrong(EXPECTED, "a whole number, or a range such as {min: 1, max: 64}")
        return value if isinstance(value, Mapping) else {"max": value, "algorithm": "fixed"}


class ProcessesWords(Words):
    """``4`` is short for ``{min: 4, max: 4}``, and ``1-8`` for ``{min: 1, max: 8}``."""

    min: Count | None = None
    max: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return value
        text = str(value).strip()
        if isinstance(value, bool) or not (words := _RANGE.fullmatch(text) or _WHOLE.fullmatch(text)):
            raise _wrong(EXPECTED, "a whole number, or a range such as 1-8 or {min: 1, max: 8}")
        least, most = words.groups() or (text, text)
        if int(least) < 1:
            raise _wrong(EXPECTED, "1 or more")
        return {"min": least, "max": most}


class BreakerWords(Words):
    """``true`` is short for all of it as it is by default."""

    error_ratio: Ratio | None = None
    window: Span | None = None
    min_runs: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str):  # a variable's
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value is False:
            raise _wrong(REFUSED, "leave it out where there is to be none")
        return {} if value is True else value


class DownstreamWords(Words):
    """Under ``downstreams.<name>``."""

    concurrency: ConcurrencyWords | None = None
    rate: RateWords | None = None
    breaker: BreakerWords | None = None


class ConsumerWords(DownstreamWords):
    """Under ``consumers.<queue>``."""

    downstream: str | None = None
    memory: Size | None = None
    batch_size: Count | None = None
    batch_wait: Duration | None = None
    target_wait: Span | None = None


class RetryWords(Words):
    """Under ``queues.<name>.retry``."""

    max_attempts: Count | None = None
    backoff: Literal["exponential", "linear", "constant"] | None = None
    initial: Span | None = None
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    cap: Span | None = None
    jitter: Literal["full", "none"] | None = None
    floor: Span | None = None
    max_age: Span | None = None


class QueueWords(Words):
    """Under ``queues.<name>``."""

    broker: str | None = None
    lease: Span | None = None
    timeout: Span | None = None
    retry: RetryWords | None = None
    max_deliveries: Count | None = None
    ordered: bool | None = None
    dedup: Duration | None = None
    max_depth: Count | None = None
    max_wait: Span | None = None
    when_full: Literal["reject", "block"] | None = None
    declare: Literal["create", "verify", "skip"] | None = None
    read_from: Annotated[
        Any, BeforeValidator(partial(_refuse, "reserved for live migration, which is not available yet: remove it"))
    ] = None


class Given(Words):
    """All of it."""

    broker: Url | None = None
    brokers: Annotated[dict[Name, BrokerWords | None], BeforeValidator(_section)] = Field(default_factory=dict)
    downstreams: Annotated[dict[Name, DownstreamWords | None], BeforeValidator(_section)] = Field(default_factory=dict)
    queues: Annotated[dict[QueueName, QueueWords | None], BeforeValidator(_section)] = Field(default_factory=dict)
    consumers: Annotated[dict[QueueName, ConsumerWords | None], BeforeValidator(_section)] = Field(default_factory=dict)
    store: Store | None = None
    send_timeout: Span | None = None
    drain_timeout: Duration | None = None
    listen: Listen | None = None
    listen_token: Token | None = None
    processes: ProcessesWords | None = None


#: Sections whose keys are names that users choose.
NAMED: Final[Mapping[str, type[Words]]] = {
    "brokers": BrokerWords,
    "downstreams": DownstreamWords,
    "queues": QueueWords,
    "consumers": ConsumerWords,
}
_INNER: Final[Mapping[str, type[Words]]] = {
    "retry": RetryWords,
    "rate": RateWords,
    "concurrency": ConcurrencyWords,
    "breaker": BreakerWords,
    "processes": ProcessesWords,
}


def known_keys(section: Path) -> list[str]:
    """The keys that the section at this path takes."""
    model = Given if not section else NAMED[section[0]] if len(section) == 2 else _INNER[section[-1]]
    return list(model.model_fields)
