"""Every URL finds its adapter, or its owner learns what to do about it, and never reads a password."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

import pytest

from leveler.adapter import Adapter
from leveler.discovery import Installed, find, installed
from leveler.errors import AdapterNotFound, ConfigError
from leveler.testing import VirtualClock

MODULE = """
from dataclasses import dataclass
from typing import Literal
from leveler.adapter import Adapter
{imports}

@dataclass(frozen=True)
class Options:
    heartbeat_seconds: float = 60.0
    tls: bool = False
    retries: int = 3
    mode: Literal["fast", "safe"] = "safe"
    account_key: str = ""
    vhosts: tuple[str, ...] = ()

class Broker(Adapter):
    schemes = {schemes!r}
    options = Options
    declare = drop = sender = receiver = depth = peek = purge = None
"""


class Site:
    """A folder of installed distributions, each with one adapter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, name: str, *schemes: str, imports: str = "", distribution: str = "leveler-mq", source: str | None = None
    ) -> None:
        """Adapter `name`, in the module ``site_<name>``."""
        text = MODULE.format(imports=imports, schemes=schemes) if source is None else source
        (self.folder / f"site_{name}.py").write_text(text)
        info = self.folder / f"{distribution.replace('-', '_')}_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[leveler.adapters]\n{name} = site_{name}:Broker\n")

    def entry_points(self) -> list[EntryPoint]:
        return [entry for found in distributions(path=[str(self.folder)]) for entry in found.entry_points]

    def find(self, url: str, **extra_options: object) -> Adapter:
        return find(
            url,
            clock=VirtualClock(),
            deadline_seconds=5.0,
            extra_options=extra_options,
            entry_points=self.entry_points(),
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith("site_")]:
        del sys.modules[name]


@pytest.fixture
def broker(site: Site) -> Callable[..., Any]:
    """The options of an adapter ``acme://``, as it was constructed."""
    site.install("acme", "acme")
    return lambda url, **extra_options: site.find(url, **extra_options).settings


# ---- the adapter


def test_the_memory_adapter_that_is_installed_here_is_found() -> None:
    clock = VirtualClock()
    adapter = find("memory://", clock=clock, deadline_seconds=3.0, extra_options={"personality": "sqs"})
    assert type(adapter).__name__ == "MemoryAdapter"
    assert (adapter.url, adapter.clock, adapter.deadline_seconds) == ("memory://", clock, 3.0)
    assert adapter.settings.personality == "sqs"
    assert Installed("memory", ("memory",), None, "leveler-mq") in installed()


def test_an_adapter_is_found_by_the_schemes_that_it_declares(site: Site) -> None:
    site.install("rabbitmq", "amqp", "amqps")
    site.install("acme", "acme+tcp", "acme+tls", distribution="leveler-acme")
    for url in ("amqp://localhost", "AMQPS://localhost"):
        assert type(site.find(url)).__module__ == "site_rabbitmq"
    assert type(site.find("acme+tls://localhost")).__module__ == "site_acme"


def test_an_adapter_that_cannot_be_imported_stops_nobody_who_did_not_mean_it(site: Site) -> None:
    site.install("aaa", "aaa", imports="import a_client_that_is_not_there")
    site.install("bbb", "bbb", imports="raise RuntimeError('a bug')")
    site.install("zzz", "kafka")
    assert type(site.find("kafka://localhost")).__module__ == "site_zzz"


def test_what_is_likely_meant_is_imported_first_and_alone(site: Site) -> None:
    site.install("aaa", "aaa")
    site.install("rabbitmq", "amqp")
    site.find("amqp://localhost")
    assert "site_aaa" not in sys.modules


def test_another_adapter_of_the_same_scheme_serves_where_ours_lacks_its_client(site: Site) -> None:
    site.install("redis", "redis", imports="import a_client_that_is_not_there")
    site.install("fastredis", "redis", distribution="leveler-fastredis")
    assert type(site.find("redis://localhost")).__module__ == "site_fastredis"


def test_a_foreign_adapter_does_not_take_over_a_scheme_of_ours(site: Site) -> None:
    site.install("aaa", "redis", "acme", distribution="leveler-aaa")
    site.install("redis", "redis")
    site.install("zzz", "acme")
    assert type(site.find("redis://localhost")).__module__ == "site_redis"
    assert type(site.find("acme://localhost")).__module__ == "site_zzz"


def test_a_missing_client_library_of_ours_names_the_extra(site: Site) -> None:
    site.install("sqs", "sqs", imports="import a_client_that_is_not_there.deeper")
    with pytest.raises(AdapterNotFound) as caught:
        site.find("sqs://eu-west-1")
    assert str(caught.value) == (
        "the adapter 'sqs' needs the module 'a_client_that_is_not_there', which is not installed: "
        "pip install 'leveler-mq[sqs]'"
    )


def test_a_missing_client_library_of_a_third_party_names_its_distribution_and_no_extra_of_ours(site: Site) -> None:
    site.install("acme", "acme", imports="import a_client_that_is_not_there", distribution="leveler-acme")
    with pytest.raises(AdapterNotFound, match=r"'a_client_that_is_not_there'.*'leveler-acme'") as caught:
        site.find("acme://localhost")
    assert "pip install" not in str(caught.value)


def test_a_module_that_this_python_was_built_without_is_no_missing_extra(site: Site) -> None:
    site.install("sqlite", "sqlite", imports="raise ModuleNotFoundError('gone', name='_sqlite3')")
    with pytest.raises(AdapterNotFound, match="another build of Python"):
        site.find("sqlite:///orders.db")


@pytest.mark.parametrize("missing", ["site_sqs", "site_sqs.sender", "leveler.gone", None])
def test_a_module_missing_inside_the_adapter_is_a_bug_and_no_missing_client(site: Site, missing: str | None) -> None:
    site.install("sqs", "sqs", imports=f"raise ModuleNotFoundError('gone', name={missing!r})")
    with pytest.raises(ModuleNotFoundError, match="gone"):
        site.find("sqs://eu-west-1")


def test_a_bug_in_the_adapter_that_was_asked_for_is_raised_as_it_is(site: Site) -> None:
    site.install("acme", "acme", imports="1 / 0")
    with pytest.raises(ZeroDivisionError):
        site.find("acme://localhost")


@pytest.mark.parametrize(
    "source", ["Broker = 5", "class Broker: schemes = ('acme',)", "from leveler.adapter import Adapter as Broker"]
)
def test_an_entry_point_that_is_no_adapter_is_refused_by_name(site: Site, source: str) -> None:
    site.install("acme", source=source, distribution="leveler-acme")
    with pytest.raises(ConfigError, match="'acme' of leveler-acme is broken: site_acme:Broker must be"):
        site.find("acme://localhost")


def test_an_unknown_scheme_names_the_nearest_and_the_known_ones(site: Site) -> None:
    site.install("rabbitmq", "amqp", "amqps")
    site.install("memory", "memory")
    with pytest.raises(AdapterNotFound) as caught:
        site.find("ampqs://guest:secret@localhost")
    assert str(caught.value) == (
        "no adapter answers to 'ampqs://' (did you mean 'amqps'?); known are amqp, amqps, memory"
    )


def test_an_unknown_scheme_lists_the_adapters_that_could_not_be_asked(site: Site) -> None:
    site.install("redis", "redis", imports="import a_client_that_is_not_there")
    site.install("acme", "acme", imports="1 / 0", distribution="leveler-acme")
    with pytest.raises(AdapterNotFound) as caught:
        site.find("kafka://localhost")
    text = str(caught.value)
    assert "known are redis, rediss" in text
    assert "pip install" not in text  # it would not help
    assert "'acme' could not be asked: division by zero" in text


def test_without_any_adapter_the_error_says_so(site: Site) -> None:
    with pytest.raises(AdapterNotFound, match="no adapter is installed"):
        site.find("memory://")


def test_all_installed_adapters_are_listed_with_their_problems(site: Site) -> None:
    site.install("memory", "memory")
    site.install("sqs", "sqs", imports="import a_client_that_is_not_there")
    site.install("acme", "acme", imports="1 / 0", distribution="leveler-acme")
    acme, memory, sqs = installed(site.entry_points())
    assert memory == Installed("memory", ("memory",), None, "leveler-mq")
    assert (sqs.schemes, sqs.problem and "leveler-mq[sqs]" in sqs.problem) == ((), True)
    assert acme == Installed("acme", (), "ZeroDivisionError: division by zero", "leveler-acme")


# ---- the URL


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "guest:secret@localhost",
        "Endpoint=sb://x/;SharedAccessKey=secret",
        "://secret",
        "localhost:5672/secret",
    ],
)
def test_what_is_no_url_is_refused_without_showing_what_may_be_a_password(site: Site, url: str) -> None:
    with pytest.raises(AdapterNotFound, match="has no scheme: write it as") as caught:
        site.find(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "acme://user:hunter?two@localhost",
        "acme://user:hunter?two=1@localhost?tls=true",
        "acme://user:secret@localhost?no-such-option=1",
        "acme://user:secret@localhost?retries=secret",
        "acme://user:secret@localhost?mode=account_key=secret",
        "acme://user:secret@localhost?tls=maybe&account_key=secret",
        "acme://host?hunter two=1",
        "kafka://user:secret@localhost?password=secret",
    ],
)
def test_no_error_shows_a_secret_of_the_url(broker: Callable[..., Any], url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        broker(url)
    for part in ("secret", "ret=", "hunter", "two"):
        assert part not in str(caught.value)


def test_the_adapter_gets_the_url_without_its_query(site: Site) -> None:
    site.install("acme", "acme")
    adapter = site.find(" acme://user:p%3F@one,two:5672/path?tls=true\n")
    assert adapter.url == "acme://user:p%3F@one,two:5672/path"
    assert "p%3F" not in repr(adapter)


# ---- the options


def test_options_come_from_the_query_and_from_the_settings(broker: Callable[..., Any]) -> None:
    options = broker(
        "acme://host?heartbeat-seconds=2.5&tls=true&retries=7&mode=fast&account_key=a%2Fb+c==", vhosts=["a", "b"]
    )
    assert (options.heartbeat_seconds, options.tls, options.retries, options.mode) == (2.5, True, 7, "fast")
    assert (options.account_key, options.vhosts) == ("a/b+c==", ("a", "b"))


def test_settings_may_be_typed_or_text_and_dashed_or_not(broker: Callable[..., Any]) -> None:
    options = broker("acme://host", **{"heartbeat-seconds": 2, "retries": "7", "tls": False})
    assert (options.heartbeat_seconds, options.retries, options.tls) == (2.0, 7, False)


def test_without_options_there_are_defaults(broker: Callable[..., Any]) -> None:
    assert broker("acme://host?").retries == 3


@pytest.mark.parametrize(
    ("url", "extra", "said"),
    [
        (
            "acme://host?retrys=1",
            {},
            r"acme:// has no option 'retrys' \(did you mean 'retries'\?\); it takes account_key, ",
        ),
        ("acme://host", {"zzz": 1}, "acme:// has no option 'zzz'; it takes account_key, "),
        ("acme://host?retries=many", {}, "options of acme://: Expected `int`, got `str` - at `retries`"),
        ("acme://host", {"tls": "maybe"}, "Expected `bool`, got `str` - at `tls`"),
        ("acme://host", {"mode": "slow"}, "Invalid enum value 'slow' - at `mode`; choose one of fast, safe"),
        ("acme://host?tls=1&tls=0", {}, "option 'tls' of acme:// is given twice"),
        (
            "acme://host?heartbeat-seconds=1",
            {"heartbeat_seconds": 2},
            "option 'heartbeat_seconds' of acme:// is given twice",
        ),
        ("acme://host?a@b=1", {}, "name is no word"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    broker: Callable[..., Any], url: str, extra: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        broker(url, **extra)
