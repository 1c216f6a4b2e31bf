"""The command line: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from leveler_sqlite import SQLiteAdapter
from typer.testing import CliRunner

from leveler import Leveler, __version__
from leveler.adapter import Capabilities
from leveler.cli import make
from leveler.cli.complaint import exit_code
from leveler.cli.diagnosis import judgement
from leveler.cli.looks import Looks
from leveler.cli.run import LogFormatter
from leveler.cli.source import Source
from leveler.cli.terminal import age, escaped, one_line, table
from leveler.cli.top import _watcher
from leveler.errors import (
    AccessDenied,
    BrokerUnavailable,
    ConfigError,
    InvalidMessage,
    LevelerError,
    QueueFull,
    QueueNotFound,
)
from leveler.message import Death, Message
from leveler.monitor.watcher import Unreadable
from leveler.settings import QueueSettings


class Ran(NamedTuple):
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _nothing_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("LEVELER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def cli() -> Cli:
    """In this process."""

    def run(*words: str, stdin: str | bytes = "") -> Ran:
        result = CliRunner().invoke(make(), words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def orders(cli: Cli, tmp_path: Path) -> Cli:
    """Commands on queue ``orders`` of a file."""
    url = f"sqlite:///{tmp_path / 'orders.db'}"

    def run(*words: str, stdin: str | bytes = "") -> Ran:
        return cli(*words, "--broker", url, stdin=stdin)

    return run


def process(*words: str, **environment: str) -> Ran:
    """In a process of its own, as a user starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "leveler", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        env={**os.environ, **environment},
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


# ---- wrong input: one clear line, exit code 2, no traceback

HANDLER = """
from leveler import Leveler
app = Leveler("memory://")
@app.consumer({queue!r})
def handle({parameters}): ...
"""


def _module(name: str, queue: str = "orders", parameters: str = "order") -> None:
    Path(f"{name}.py").write_text(HANDLER.format(queue=queue, parameters=parameters))


def _yaml(text: str) -> None:
    Path("leveler.yaml").write_text(text)


def _without_client() -> None:
    """A distribution of ours whose adapter's client library is not installed."""
    Path("leveler_mq-0.1.0.dist-info").mkdir()
    Path("leveler_mq-0.1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: leveler-mq\nVersion: 0.1.0\n")
    Path("leveler_mq-0.1.0.dist-info/entry_points.txt").write_text(
        "[leveler.adapters]\nrabbitmq = leveler_rabbitmq:Adapter\n"
    )
    Path("leveler_rabbitmq.py").write_text("import a_client_that_nobody_has\n")


WRONG: list[Any] = [
    pytest.param(
        lambda: _yaml("broker: memory://\nqueues: {orders: {leese: 30s}}\n"),
        ["depth"],
        {},
        ["leveler.yaml:2", "leese", "lease"],
        id="wrong YAML key",
    ),
    pytest.param(
        lambda: _yaml("broker: memory://\nqueues: {orders: {lease: 30 lightyears}}\n"),
        ["depth"],
        {},
        ["leveler.yaml:2", "30 lightyears", "a duration"],
        id="wrong unit",
    ),
    pytest.param(
        lambda: None,
        ["depth", "orders"],
        {"LEVELER_BROKR": "memory://"},
        ["LEVELER_BROKR", "LEVELER_BROKER"],
        id="misspelt variable",
    ),
    pytest.param(lambda: None, ["depth", "orders", "--broker", "sqllite:///x.db"], {}, ["sqlite"], id="unknown scheme"),
    pytest.param(
        _without_client,
        ["depth", "orders", "--broker", "amqp://localhost/"],
        {"PYTHONPATH": f".{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        ["a_client_that_nobody_has", "pip install 'leveler-mq[rabbitmq]'"],
        id="missing extra",
    ),
    pytest.param(
        lambda: None,
        ["send", "orders", "--broker", "sqlite:///no/such/folder/x.db"],
        {},
        ["no/such/folder"],
        id="missing folder",
    ),
    pytest.param(
        lambda: None,
        ["send", "orders", "--broker", "sqlite:////proc/orders.db"],  # nobody can write there, not even root
        {},
        ["/proc/orders.db", "cannot be opened for writing"],
        id="unwritable path",
    ),
    pytest.param(
        lambda: Path("lines").write_text('{"id": 1}\n{"id": \n'),
        ["send", "orders", "lines", "--broker", "sqlite:///x.db"],
        {},
        ["line 2", "JSON"],
        id="malformed JSON line",
    ),
    pytest.param(
        lambda: Path("lines").write_text(json.dumps("x" * 40_000)),
        ["send", "orders", "lines", "--broker", "sqlite:///x.db?max_message_bytes=32768"],
        {},
        ["line 1", "40", "32768"],
        id="oversize body",
    ),
    pytest.param(
        lambda: None, ["peek", "Orders!", "--broker", "memory://"], {}, ["Orders!", "lower-case"], id="queue name"
    ),
    pytest.param(
        lambda: _module("named", queue="My Orders"),
        ["run", "named:app"],
        {},
        ["named.py:4", "My Orders", "lower-case"],
        id="queue name of a handler",
    ),
    pytest.param(
        lambda: _module("signed", parameters="order, ctx, more"),
        ["run", "signed:app"],
        {},
        ["signed.py:4", "handle", "(order, ctx, more)"],
        id="signature of a handler",
    ),
    pytest.param(lambda: None, ["run", "nowhere:app"], {}, ["nowhere"], id="module not found"),
    pytest.param(lambda: _module("there"), ["run", "there:application"], {}, ["'there:app'"], id="attribute not found"),
    pytest.param(lambda: _module("there"), ["run", "there:handle"], {}, ["function", "Leveler"], id="not an app"),
    pytest.param(lambda: None, ["run", "not/a/module.py"], {}, ["module:attribute"], id="no reference"),
    pytest.param(lambda: None, ["depth", "orders"], {}, ["no broker"], id="no broker"),
    pytest.param(
        lambda: None, ["depth", "orders", "--config", "gone.yaml"], {}, ["gone.yaml"], id="configuration not found"
    ),
    pytest.param(
        lambda: None,
        ["depth", "orders", "--broker", "sqlite:///x.db"],
        {},
        ["x.db", "no such file"],
        id="file not found",
    ),
    pytest.param(
        lambda: Path("lines").write_text("{}"),
        ["send", "orders", "lines", "--broker", "memory://"],
        {},
        ["'orders'", "this process only", "sqlite:///orders.db"],
        id="a broker that ends with the command",
    ),
    pytest.param(
        lambda: Path("leveler.yml").write_text("broker: sqlite:///x.db"),
        ["depth", "orders"],
        {},
        ["leveler.yml", "leveler.yaml", "--config"],
        id="another name of the configuration",
    ),
    pytest.param(lambda: _module("there"), ["run", "there.py"], {}, ["did you mean 'there'?"], id="file for a module"),
    pytest.param(lambda: None, ["depth", "orders", "--broker", "kafka://x"], {}, ["amqps"], id="nobody's scheme"),
]


@pytest.mark.parametrize(("prepare", "words", "environment", "said"), WRONG)
def test_wrong_input_is_one_clear_line_and_exit_code_2(
    prepare: Callable[[], object], words: list[str], environment: dict[str, str], said: Sequence[str]
) -> None:
    prepare()

    ran = process(*words, **environment)

    assert ran.code == 2, ran
    [line] = ran.err.splitlines()
    assert line.startswith("leveler: ")
    for part in said:
        assert part in line


def test_two_wrong_settings_are_two_lines(cli: Cli) -> None:
    _yaml("broker: memory://\nqueues: {orders: {lease: 30x, timeout: 5y}}\n")

    ran = cli("depth")

    assert (ran.code, len(ran.err.splitlines())) == (2, 2)


def test_a_bug_in_the_users_module_keeps_its_traceback() -> None:
    Path("broken.py").write_text("def configure():\n    return 1 / 0\n\nconfigure()\n")

    ran = process("run", "broken:app")

    assert ran.code == 1
    head, first, *_ = ran.err.splitlines()
    assert head == "Traceback (most recent call last):"
    assert first.strip().startswith(f'File "{Path("broken.py").resolve()}", line 4')  # nothing of ours before it
    assert "return 1 / 0" in ran.err
    assert ran.err.endswith("leveler: app 'broken:app' cannot be imported: ZeroDivisionError: division by zero\n")


def test_a_file_that_is_no_python_is_told_with_its_line() -> None:
    Path("open.py").write_text("app = (\n")

    ran = process("run", "open:app")

    assert (ran.code, ran.err.count("Traceback")) == (1, 0)
    assert 'open.py", line 1' in ran.err
    assert "leveler: app 'open:app' cannot be imported: SyntaxError: '(' was never closed" in ran.err


def test_a_module_that_the_users_module_misses_is_not_taken_for_the_users_module() -> None:
    Path("importing.py").write_text("import something_else\n")

    ran = process("run", "importing:app")

    assert ran.code == 1
    assert "No module named 'something_else'" in ran.err
    assert "importing.py" in ran.err


def test_an_app_without_handlers_is_no_worker(cli: Cli) -> None:
    Path("idle.py").write_text("from leveler import Leveler\napp = Leveler('memory://')\n")

    ran = cli("run", "idle")

    assert ran.code == 2
    assert "idle" in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (InvalidMessage("x"), 2),
        (AccessDenied("x"), 2),
        (QueueNotFound("x"), 2),
        (BrokerUnavailable("x"), 3),
        (QueueFull("x"), 1),
        (LevelerError("x"), 1),
    ],
)
def test_the_exit_code_says_whose_fault_it_is(error: LevelerError, code: int) -> None:
    assert exit_code(error) == code


# ---- help


def test_help_names_every_command_and_the_exit_codes(cli: Cli) -> None:
    text = cli("--help").out

    for command in ("run", "send", "peek", "depth", "dead", "doctor", "adapters", "config", "contract", "demo"):
        assert f"\n  {command} " in text
    assert "Exit codes" in text


def test_the_version_is_said(cli: Cli) -> None:
    assert cli("--version") == (0, f"leveler {__version__}\n", "")


@pytest.mark.parametrize("words", [["send"], ["dead", "replay"], ["run"], ["demo"]])
def test_every_command_explains_itself(cli: Cli, words: list[str]) -> None:
    ran = cli(*words, "--help")

    assert ran.code == 0
    assert "Usage:" in ran.out


def test_help_loads_nothing_that_it_does_not_need() -> None:
    loaded = "import sys, leveler.cli; leveler.cli.make(); print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True, text=True).stdout.split()

    assert not {"rich", "pydantic", "pydantic_settings", "yaml", "uvloop", "leveler.testing"} & {*modules}


# ---- send


def test_each_line_becomes_one_message_byte_for_byte(orders: Cli) -> None:
    lines = ['{"total": 1.50,  "id": 12345678901234567890}', '"text"', "3"]

    ran = orders("send", "orders", stdin="\n".join(lines))

    assert ran.code == 0
    assert ran.out.startswith("3 sent to orders")
    messages = orders("peek", "orders", "--json").data
    assert [message["body"] for message in messages] == lines
    assert [message["type"] for message in messages] == ["dict", "str", "int"]
    assert {message["content_type"] for message in messages} == {"application/json"}


def test_blank_lines_and_a_byte_order_mark_are_no_messages(orders: Cli) -> None:
    orders("send", "orders", stdin=b'\xef\xbb\xbf{"id": 1}\r\n\r\n   \n{"id": 2}')

    assert [message["body"] for message in orders("peek", "orders", "--json").data] == ['{"id": 1}', '{"id": 2}']


def test_options_are_said_of_every_message(orders: Cli) -> None:
    words = ["--type", "Order", "--priority", "9", "--header", "x-from=shop", "--header", "x-empty=", "--key", "k"]

    orders("send", "orders", *words, stdin='{"id": 1}')

    [message] = orders("peek", "orders", "--json").data
    assert (message["type"], message["priority"], message["key"]) == ("Order", 9, "k")
    assert message["headers"] == {"x-from": "shop", "x-empty": ""}


def test_a_delayed_message_is_not_ready(orders: Cli) -> None:
    orders("send", "orders", "--delay", "1h", stdin='{"id": 1}')

    depth = orders("depth", "orders", "--json").data["orders"]
    assert (depth["ready"], depth["delayed"]) == (0, 1)


def test_the_key_may_stand_in_a_field(orders: Cli) -> None:
    orders("send", "orders", "--key-field", "customer", stdin='{"customer": "c7"}\n{"customer": 8}')

    assert [message["key"] for message in orders("peek", "orders", "--json").data] == ["c7", "8"]


@pytest.mark.parametrize("line", ['{"id": 1}', '{"customer": null}', '{"customer": true}', '{"customer": {}}', "[]"])
def test_a_line_without_its_key_is_wrong(orders: Cli, line: str) -> None:
    ran = orders("send", "orders", "--key-field", "customer", stdin=line)

    assert ran.code == 2
    assert "line 1" in ran.err
    assert "customer" in ran.err


def test_what_stands_before_a_wrong_line_is_sent_and_nothing_after_it(orders: Cli) -> None:
    ran = orders("send", "orders", stdin='{"id": 1}\n\n{"id": \n{"id": 4}')

    assert (ran.code, ran.err.count("line ")) == (2, 1)
    assert "line 3: " in ran.err
    assert [message["body"] for message in orders("peek", "orders", "--json").data] == ['{"id": 1}']


def test_with_on_error_continue_every_right_line_is_sent(orders: Cli) -> None:
    ran = orders("send", "orders", "--on-error", "continue", "--json", stdin='{"id": 1}\nnot JSON\n{"id": 3}\n{,}\n')

    assert ran.code == 2
    assert ran.data["sent"] == 2
    assert [wrong["line"] for wrong in ran.data["wrong"]] == [2, 4]
    assert [message["body"] for message in orders("peek", "orders", "--json").data] == ['{"id": 1}', '{"id": 3}']


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": NaN}', b'"\xff"', "{'a': 1}", '{"a": 1} {"b": 2}'])
def test_what_is_not_json_is_wrong_however_it_looks(orders: Cli, line: str | bytes) -> None:
    ran = orders("send", "orders", stdin=line)

    assert ran.code == 2
    assert "line 1: " in ran.err


def test_json_over_several_lines_is_told_that_it_must_stand_on_one(orders: Cli) -> None:
    ran = orders("send", "orders", stdin='{\n  "id": 1\n}\n')

    assert ran.code == 2
    assert ran.err == "leveler: line 1: not JSON: Input data was truncated; each value stands on one line\n"


def test_a_file_of_many_chunks_keeps_its_order(orders: Cli, tmp_path: Path) -> None:
    lines = [json.dumps({"number": number, "filler": "x" * 150}) for number in range(5_000)]
    (tmp_path / "lines").write_text("\n".join(lines))

    ran = orders("send", "orders", str(tmp_path / "lines"), "--json")

    assert ran.data["sent"] == 5_000
    assert [message["body"] for message in orders("peek", "orders", "--limit", "5000", "--json").data] == lines


def test_a_line_in_a_pipe_does_not_wait_for_the_next_one(orders: Cli, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "leveler", "send", "orders", "--broker", f"sqlite:///{tmp_path / 'orders.db'}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        sender.stdin.write(b'{"id": 1}\n')
        sender.stdin.flush()
        _wait_until(lambda: orders("depth", "orders", "--json").out.find('"ready": 1') > 0)
        sender.stdin.close()
        assert sender.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--header", "nothing"], "name=value"),
        (["--header", "ce-id=1"], "reserved"),
        (["--key", "k", "--key-field", "f"], "--key-field"),
        (["--delay", "soon"], "--delay 'soon'"),
        (["--priority", "11"], "priority is 11"),
        (["--key", "with space"], "with space"),
    ],
)
def test_a_wrong_option_is_said(orders: Cli, words: list[str], said: str) -> None:
    ran = orders("send", "orders", *words, stdin='{"id": 1}')

    assert ran.code == 2
    assert said in ran.err


def test_a_sender_waits_for_room_as_long_as_it_is_told_and_says_what_was_not_sent(orders: Cli) -> None:
    _yaml("queues: {orders: {max_depth: 2}}\n")
    began = time.monotonic()

    ran = orders("send", "orders", "--block", "300ms", "--json", stdin='{"id": 1}\n{"id": 2}\n{"id": 3}\n')

    assert ran.code == 1
    assert ran.data["sent"] == 2
    assert "bound of 2" in ran.err
    assert 0.3 <= time.monotonic() - began < 5


def test_an_interrupted_sender_says_how_far_it_came(orders: Cli, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "leveler", "send", "orders", "--broker", f"sqlite:///{tmp_path / 'orders.db'}"]
    with subprocess.Popen([*words, "--on-error", "continue"], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        assert sender.stderr is not None
        sender.stdin.write(b'{"id": 1}\nwrong\n')
        sender.stdin.flush()
        assert b"line 2" in sender.stderr.readline()
        _wait_until(lambda: orders("depth", "orders", "--json").out.find('"ready": 1') > 0)
        time.sleep(0.2)  # it is in the file; the sender has to hear of that
        sender.send_signal(signal.SIGINT)
        assert b"interrupted: at least 1 sent" in sender.stderr.readline()
        assert sender.wait(20) == 130


def test_sending_needs_no_app_but_hears_one(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    Path("shop.py").write_text(
        f"from leveler import Leveler, QueueSettings\napp = Leveler({url!r}, queues={{'orders': "
        "QueueSettings(ordered=True)}})\n".replace("}}", "}")
    )

    cli("send", "orders", "--app", "shop:app", stdin='{"id": 1}')

    ran = cli("doctor", "shop:app", "--json")
    assert ran.data["capabilities"]["orders"]["ordering"] is True


# ---- peek and depth


@pytest.mark.parametrize("words", ["peek", "depth", "dead list", "dead purge --yes", "dead replay"])
def test_looking_makes_no_queue_and_no_file(orders: Cli, tmp_path: Path, words: str) -> None:
    verb, *rest = words.split()

    ran = orders(verb, *rest[:1], "orders", *rest[1:])

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'orders.db'}: there is no such file" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_queue_is_told_with_those_that_are_there(orders: Cli) -> None:
    orders("send", "orders", stdin='{"id": 1}')

    ran = orders("depth", "ordres")

    assert ran.code == 2
    assert "'ordres'" in ran.err
    assert "which has 'orders'" in ran.err


def test_peek_shows_the_next_messages_and_changes_nothing(orders: Cli) -> None:
    orders("send", "orders", stdin='{"id": 1}\n{"id": 2}\n{"id": 3}')

    for _ in range(2):
        text = orders("peek", "orders", "--limit", "2").out
        assert '{"id": 1}' in text
        assert '{"id": 3}' not in text
    assert orders("depth", "orders", "--json").data["orders"]["ready"] == 3


def test_where_nobody_can_look_peek_says_what_can_be_done(cli: Cli) -> None:
    ran = cli("peek", "orders", "--broker", "memory://?personality=rabbitmq")

    assert ran.code == 1
    assert ran.err.endswith(": 'leveler depth orders' counts them\n")


def test_depth_without_a_name_counts_every_queue_that_is_configured(cli: Cli, tmp_path: Path) -> None:
    _yaml(f"broker: sqlite:///{tmp_path / 'x.db'}\nqueues: {{orders: {{}}, mails: {{}}}}\n")
    for queue in ("orders", "mails"):
        cli("send", queue, stdin='{"id": 1}')

    text = cli("depth").out

    assert [line.split()[:2] for line in text.splitlines()] == [["QUEUE", "READY"], ["mails", "1"], ["orders", "1"]]


def test_depth_without_a_name_and_without_a_configuration_says_what_to_do(orders: Cli) -> None:
    assert orders("depth").code == 2


def test_depth_watches_until_it_is_interrupted(orders: Cli, tmp_path: Path) -> None:
    orders("send", "orders", stdin='{"id": 1}')
    words = [
        "depth",
        "orders",
        "--watch",
        "--every",
        "50ms",
        "--json",
        "--broker",
        f"sqlite:///{tmp_path / 'orders.db'}",
    ]

    with subprocess.Popen([sys.executable, "-m", "leveler", *words], stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        looks = [json.loads(watcher.stdout.readline()) for _ in range(3)]
        watcher.send_signal(signal.SIGINT)
        code = watcher.wait(20)

    assert [look["orders"]["ready"] for look in looks] == [1, 1, 1]
    assert code == 0


# ---- dead letters


@pytest.fixture
def dead(orders: Cli, tmp_path: Path) -> Cli:
    """``leveler dead`` on a queue with three dead letters: two rejected ones and an undecodable one."""
    orders("send", "orders", "--type", "Order", stdin='{"total": -1}\n{"total": -2, "secret": "4711"}\n')
    orders("send", "orders", "--type", "Bill", stdin='"\\u001b[31mnothing"')
    _let_all_die(f"sqlite:///{tmp_path / 'orders.db'}", expected=3)
    return lambda *words, stdin="": orders("dead", *words, stdin=stdin)


def _let_all_die(url: str, expected: int) -> None:
    import asyncio

    from leveler import Reject

    app = Leveler(url)

    @app.consumer("orders")
    async def refuse(order: dict[str, Any]) -> None:
        raise Reject("a negative total\x1b[2J")

    async def work() -> None:
        async with asyncio.timeout(20), app.working():
            while (await app.depth("orders")).dead != expected:  # noqa: ASYNC110  # a queue is looked at
                await asyncio.sleep(0.02)

    asyncio.run(work())


def test_dead_list_says_why_and_hides_the_body(dead: Cli) -> None:
    ran = dead("list", "orders")

    assert ran.code == 0
    assert len(ran.out.splitlines()) == 4
    assert "rejected" in ran.out
    assert "undecodable" in ran.out
    assert "4711" not in ran.out
    assert all("body" not in letter for letter in dead("list", "orders", "--json").data)


def test_dead_show_shows_everything(dead: Cli) -> None:
    letters = dead("list", "orders", "--json").data
    [wanted] = [letter["id"] for letter in letters if letter["size_bytes"] == 31]

    text = dead("show", "orders", wanted).out

    assert '"secret": "4711"' in text
    assert "a negative total" in text
    [data] = dead("show", "orders", wanted, "--json").data
    assert json.loads(data["body"])["secret"] == "4711"
    assert data["death"]["queue"] == "orders"


def test_dead_show_of_an_unknown_id_is_wrong_input(dead: Cli) -> None:
    ran = dead("show", "orders", "nobody")

    assert ran.code == 2
    assert "nobody" in ran.err


def test_no_control_character_of_a_message_reaches_the_terminal(dead: Cli, orders: Cli) -> None:
    ids = [letter["id"] for letter in dead("list", "orders", "--json").data]
    orders("send", "orders", "--header", "x-evil=ok", stdin='"\\u001b[2J"\n"\x9b31m"')
    shown = [orders("peek", "orders"), dead("list", "orders"), *(dead("show", "orders", id) for id in ids)]

    text = "".join(ran.out for ran in shown)

    assert "\\x1b" in text
    assert all(char == "\n" or char.isprintable() for char in text)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ([], 3),
        (["--reason", "undecodable"], 1),
        (["--reason", "undecodable", "--reason", "rejected"], 3),
        (["--reason", "expired"], 0),
        (["--type", "Order"], 2),
        (["--type", "Order", "--reason", "undecodable"], 0),
        (["--older-than", "1h"], 0),
        (["--newer-than", "1h"], 3),
        (["--id", "nobody"], 0),
    ],
)
def test_filters_choose_dead_letters(dead: Cli, words: list[str], count: int) -> None:
    assert len(dead("list", "orders", *words, "--json").data) == count
    assert dead("replay", "orders", *words, "--dry-run", "--json").data["count"] == count
    assert dead("purge", "orders", *words, "--dry-run", "--json").data["count"] == count
    assert len(dead("list", "orders", "--json").data) == 3


def test_a_replay_sends_back_what_is_chosen_and_counts_it(dead: Cli, orders: Cli) -> None:
    ran = dead("replay", "orders", "--type", "Order", "--limit", "1", "--json")

    assert (ran.data["replayed"], ran.data["left"]) == (1, 2)
    [message] = orders("peek", "orders", "--json").data
    assert (message["id"], message["replays"]) == (ran.data["ids"][0], 1)
    assert message["death"] is None
    assert len(dead("list", "orders", "--json").data) == 2


def test_a_replay_keeps_its_rate(dead: Cli) -> None:
    began = time.monotonic()

    dead("replay", "orders", "--rate", "1/s")

    assert time.monotonic() - began > 2.9  # three of them, 1 s apart, and 1 s until it is sure that there are no more


def test_a_dead_letter_that_dies_again_shows_its_replays(dead: Cli, tmp_path: Path) -> None:
    dead("replay", "orders")
    _let_all_die(f"sqlite:///{tmp_path / 'orders.db'}", expected=3)

    assert [letter["replays"] for letter in dead("list", "orders", "--json").data] == [1, 1, 1]


def test_a_purge_needs_a_yes_where_nobody_can_be_asked(dead: Cli) -> None:
    ran = dead("purge", "orders", stdin="y\n")

    assert ran.code == 2
    assert "--yes" in ran.err
    assert len(dead("list", "orders", "--json").data) == 3


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 3), ("\n", 1, 3)])
def test_a_purge_asks_on_a_terminal(
    dead: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    monkeypatch.setattr("leveler.cli.dead.purge._is_terminal", lambda: True)

    assert dead("purge", "orders", stdin=answer).code == code
    assert len(dead("list", "orders", "--json").data) == left


def test_a_purge_removes_only_what_is_chosen(dead: Cli) -> None:
    ran = dead("purge", "orders", "--reason", "undecodable", "--yes", "--json")

    assert ran.data["removed"] == 1
    assert [letter["death"]["reason"] for letter in dead("list", "orders", "--json").data] == ["rejected"] * 2
    assert dead("purge", "orders", "--yes", "--json").data["removed"] == 2


# ---- doctor, adapters, config, contract


def test_doctor_finds_nothing_wrong_with_a_healthy_queue(orders: Cli) -> None:
    orders("send", "orders", stdin='{"id": 1}')

    ran = orders("doctor", "--queue", "orders")

    assert ran.code == 0
    assert "1 ready" in ran.out
    assert "0 faults, 0 warnings" in ran.out


def test_doctor_makes_no_queue_and_no_file(orders: Cli, tmp_path: Path) -> None:
    assert "not there yet" in orders("doctor", "--queue", "orders").out
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_which_promise_a_setting_weakens(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}?synchronous=normal"
    words = ["doctor", "--queue", "orders", "--broker", url]

    ran = cli(*words)

    assert ran.code == 0
    assert "synchronous=full" in ran.out
    assert cli(*words, "--strict").code == 1


def test_doctor_reports_every_broker_and_goes_on(cli: Cli, tmp_path: Path) -> None:
    _yaml(
        f"brokers:\n  default: {{url: 'sqlite:///{tmp_path / 'x.db'}'}}\n  other: {{url: 'sqlite:///no/such/x.db'}}\n"
        "queues: {orders: {}, mails: {broker: other}}\n"
    )

    ran = cli("doctor", "--json")

    assert ran.code == 1
    assert not ran.data["ok"]
    faults = [finding["subject"] for finding in ran.data["findings"] if finding["level"] == "fault"]
    assert faults == ["broker other"]
    assert "orders" in ran.data["capabilities"]


def test_doctor_finds_a_queue_that_must_be_there_and_is_not(cli: Cli, tmp_path: Path) -> None:
    _yaml(f"broker: sqlite:///{tmp_path / 'x.db'}\nqueues: {{orders: {{declare: verify}}}}\n")

    assert cli("doctor").code == 1


def test_doctor_finds_a_queue_on_a_broker_that_nobody_configured(cli: Cli, tmp_path: Path) -> None:
    _yaml(f"brokers: {{main: {{url: 'sqlite:///{tmp_path / 'x.db'}'}}}}\n")

    ran = cli("doctor", "--queue", "orders")

    assert ran.code == 1
    assert "fault    queue orders: is on broker 'default', which is not configured; known: main" in ran.out
    assert "1 fault, 0 warnings" in ran.out


def test_settings_of_a_mistyped_queue_are_told_by_doctor_and_by_the_worker(cli: Cli) -> None:
    _module("mistyped", queue="orders")
    _yaml("consumers: {order: {concurrency: 5}, refunds: {concurrency: 5}}\nqueues: {orders: {lease: 1m}}\n")

    looked, ran = cli("doctor", "mistyped"), cli("run", "mistyped", "--only", "nothing")

    said = "consumers.order: the app has no handler for this queue; did you mean 'orders'?"
    assert f"warning  {said}\n" in looked.out
    assert "refunds: the app" not in looked.out
    assert ran.err.splitlines()[0] == f"leveler: {said}"


def test_doctor_finds_a_downstream_that_limits_nobody(cli: Cli) -> None:
    _yaml("broker: memory://\ndownstreams: {billing: {rate: 5/s}}\nqueues: {orders: {}}\n")

    assert "warning  downstream billing" in cli("doctor").out


FLEET = "downstreams: {billing: {rate: {limit: 5/s, scope: fleet}}}\nconsumers: {orders: {downstream: billing}}"


def test_doctor_looks_at_the_store_of_a_rate_that_is_the_fleets(cli: Cli) -> None:
    _yaml(f"broker: memory://\nstore: sqlite:///rates.db\n{FLEET}\n")
    assert "ok       store: sqlite:///rates.db answers" in cli("doctor").out
    assert not Path("rates.db").exists()
    _yaml(f"broker: memory://\nstore: sqlite:///nowhere/rates.db\n{FLEET}\n")
    ran = cli("doctor")
    assert ran.code == 1
    assert "fault    store: " in ran.out


def test_doctor_warns_of_a_store_that_no_other_process_has(cli: Cli) -> None:
    _yaml(f"broker: memory://\n{FLEET}\n")
    assert "warning  store: is this one process's own" in cli("doctor").out


def test_doctor_finds_a_budget_that_one_message_may_break(orders: Cli) -> None:
    _yaml("consumers: {orders: {memory: 1MiB}}\n")

    ran = orders("doctor", "--queue", "orders")

    assert ran.code == 1
    assert "fault    queue orders: consumers.orders.memory is 1MiB: one message of this queue may take 64MiB" in ran.out


def test_doctor_says_how_many_messages_a_budget_means_where_sizes_show_late(cli: Cli) -> None:
    _yaml("broker: memory://?personality=sqs\nconsumers: {orders: {memory: 64MiB}}\n")

    assert "memory is 64MiB: 64 messages are held at once" in cli("doctor").out


CAN = Capabilities(scope="network", durable=True, max_message_bytes=1000, max_batch=10)


@pytest.mark.parametrize(
    ("settings", "can", "level", "said"),
    [
        (QueueSettings(ordered=True), CAN, "fault", "order"),
        (QueueSettings(dedup_seconds=60), CAN, "fault", "dedup is 60 s"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "degraded": ("eviction is on",)}), "warning", "eviction"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "durable": False}), "warning", "lost"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "scope": "process"}), "warning", "one process"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "uncounted": "none"}), "warning", "given back"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "depth": "none"}), "warning", "depth"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "attempts": "approximate"}), "note", "count"),
        (QueueSettings(), Capabilities(**{**vars(CAN), "max_abandon_seconds": 60.0}), "note", "1m"),
    ],
)
def test_a_diagnosis_follows_from_the_settings_and_the_capabilities(
    settings: QueueSettings, can: Capabilities, level: str, said: str
) -> None:
    [(found, text)] = judgement(settings, can)

    assert found == level
    assert said in text


def test_adapters_lists_what_is_installed_and_what_is_missing() -> None:
    _without_client()

    ran = process("adapters", PYTHONPATH=f".{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    assert ran.code == 0
    assert "rabbitmq" in ran.out
    assert "pip install 'leveler-mq[rabbitmq]'" in ran.out


def test_adapters_names_their_schemes(cli: Cli) -> None:
    found = {one["name"]: one for one in cli("adapters", "--json").data}

    assert found["memory"]["schemes"] == ["memory"]
    assert found["sqlite"]["problem"] is None


def test_config_says_where_each_setting_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    _yaml("broker: memory://\nqueues:\n  orders:\n    lease: 45s\n")
    monkeypatch.setenv("LEVELER_DRAIN_TIMEOUT", "5s")

    settings = cli("config", "--json").data

    assert settings["queues.orders.lease"] == {"value": "45s", "from": "leveler.yaml:4"}
    assert settings["drain_timeout"] == {"value": "5s", "from": "LEVELER_DRAIN_TIMEOUT"}
    assert settings["send_timeout"]["from"] == "default"
    assert "send_timeout" not in cli("config", "--changed").out


def test_no_command_shows_a_password(cli: Cli) -> None:
    url = "amqp://user:s3cr3t-canary@localhost/?api_key=s3cr3t-canary"
    _module("there")

    for words in (
        ["config"],
        ["config", "--json"],
        ["doctor"],
        ["depth", "orders"],
        ["send", "orders"],
        ["run", "there"],
    ):
        ran = cli(*words, "--broker", url)
        assert "canary" not in ran.out + ran.err


def test_the_contract_of_an_adapter_is_tried_and_reported(cli: Cli) -> None:
    ran = cli("contract", "memory://", "--only", "peek")

    assert ran.code == 0
    assert "max message bytes" in ran.out
    assert "peek" in ran.out
    data = cli("contract", "memory://", "--only", "peek", "--json").data
    assert data["ok"]
    assert data["capabilities"]["scope"] == "process"


def test_the_contract_is_tried_on_queues_that_keep_order_or_drop_duplicates_if_wanted(cli: Cli) -> None:
    words = ("--only", "peek-", "--lease", "5s")
    refused = cli("contract", "memory://?personality=rabbitmq", *words, "--ordered")
    assert (refused.code, "ordered" in refused.err) == (2, True)

    refused = cli("contract", "memory://?personality=servicebus", *words, "--dedup", "8d")
    assert (refused.code, "dedup" in refused.err) == (2, True)

    assert cli("contract", "memory://?personality=servicebus", *words, "--ordered", "--dedup", "1h").code == 0


def test_a_broken_contract_fails() -> None:
    Path("leveler_acme-1.0.dist-info").mkdir()
    Path("leveler_acme-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: leveler-acme\nVersion: 1.0\n")
    Path("leveler_acme-1.0.dist-info/entry_points.txt").write_text("[leveler.adapters]\nacme = leveler_acme:Acme\n")
    Path("leveler_acme.py").write_text(
        "from leveler_memory import MemoryAdapter\n"
        "class Acme(MemoryAdapter):\n"
        "    schemes = ('acme',)\n"
        "    async def peek(self, queue, limit, *, dead=False): return []\n"
    )

    path = f".{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ran = process("contract", "acme://", "--only", "peek", PYTHONPATH=path)

    assert ran.code == 1
    assert "FAILED peek-" in ran.out


def test_a_topic_that_does_not_exist_is_wrong_input(cli: Cli) -> None:
    ran = cli("contract", "memory://", "--only", "nothing-like-it")

    assert ran.code == 2
    assert "topics are" in ran.err


# ---- run

WORKER = """
import asyncio
import time

from leveler import Leveler, Settings

app = Leveler(settings=Settings(drain_timeout_seconds=0.5))

@app.consumer("orders", concurrency=2, rate="100/s")
async def handle(order: dict) -> None:
    print("handled", order["id"], flush=True)

@app.consumer("stuck", concurrency=1)
async def never(order: dict) -> None:
    print("stuck", flush=True)
    await asyncio.to_thread(time.sleep, 600)
"""


@contextmanager
def _worker(url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    Path("worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "leveler", "run", "worker:app", "--broker", url, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def _until(worker: subprocess.Popen[str], word: str) -> list[str]:
    assert worker.stdout is not None
    lines = [worker.stdout.readline().strip()]
    while lines[-1] != word:
        assert lines[-1], f"it ended: {worker.stderr.read() if worker.stderr else lines}"
        lines.append(worker.stdout.readline().strip())
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_says_what_it_does_and_drains_on_a_signal(orders: Cli, tmp_path: Path, number: signal.Signals) -> None:
    orders("send", "orders", stdin='{"id": 1}')
    url = f"sqlite:///{tmp_path / 'orders.db'}"

    with _worker(url, "--only", "orders", "--log-level", "error") as worker:
        before = _until(worker, "ready")
        if "handled 1" not in before:
            _until(worker, "handled 1")
        worker.send_signal(number)
        out, err = worker.communicate(timeout=20)

    assert before[0] == f"orders: {url}, concurrency 2, rate 100/s"
    assert out.splitlines()[-1] == "orders: 1 completed, 0 retried, 0 dead-lettered, 0 given back, 0 left leased"
    assert (worker.returncode, err) == (0, "")


def test_a_thread_that_never_ends_does_not_keep_the_worker_alive(orders: Cli, tmp_path: Path) -> None:
    orders("send", "stuck", stdin='{"id": 1}')

    with _worker(f"sqlite:///{tmp_path / 'orders.db'}", "--only", "stuck") as worker:
        _until(worker, "stuck")
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        out, err = worker.communicate(timeout=30)

    assert time.monotonic() - began < 25
    assert (worker.returncode, out.splitlines()[-1]) == (
        0,
        "stuck: 0 completed, 1 retried, 0 dead-lettered, 0 given back, 0 left leased",  # cut by the timeout: counted
    )
    assert "1 threads still run" in err
    assert "stopping: 1 running, which may end within 0.5 s; a second signal gives everything back at once\n" in err


def test_only_a_queue_with_a_handler_can_be_run(orders: Cli) -> None:
    Path("worker.py").write_text(WORKER)

    ran = orders("run", "worker", "--only", "mails")

    assert ran.code == 2
    assert "orders, stuck" in ran.err


def test_several_processes_at_a_broker_of_one_are_refused_before_anything_starts(cli: Cli) -> None:
    _module("alone")

    ran = cli("run", "alone", "--processes", "1-3")

    assert (ran.code, ran.out) == (2, "orders: memory://, concurrency 16\n")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("leveler: processes is 1 to 3, and queue 'orders' is on broker 'default' (memory://)")


def test_help_tells_of_processes_and_not_of_what_only_they_are_told(cli: Cli) -> None:
    ran = cli("run", "--help")

    assert "--processes" in ran.out
    assert "PORT+1" in ran.out
    assert "--worker" not in ran.out


def test_top_looks_at_all_processes_and_misses_those_that_must_be_there(cli: Cli) -> None:
    _yaml("listen: 9464\nprocesses: 2-4\n")
    watcher, maybe = _watcher([], Source())
    urls = [f"http://127.0.0.1:{port}" for port in (9464, 9465, 9466, 9467)]
    assert [*watcher.urls] == urls

    watcher.look = lambda: dict.fromkeys(urls, Unreadable("nobody"))  # type: ignore[method-assign]
    looks = Looks(watcher, maybe)
    looks.again()
    assert [*looks.unreadable] == urls[:2]


# ---- the terminal


def test_what_could_steer_a_terminal_is_written_out() -> None:
    assert escaped("a\x1b[2J\nb\u202e\x00\x9b") == "a\\x1b[2J\\nb\\u202e\\x00\\x9b"
    assert escaped("a\n\tb\x07", lines=True) == "a\n\tb\\x07"
    assert escaped("Zürich 東京 🛫") == "Zürich 東京 🛫"


def test_a_traceback_in_the_log_steers_no_terminal() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("leveler", logging.DEBUG, "", 0, "failed", (), sys.exc_info())
    lines = LogFormatter("%(message)s").format(record).split("\n")
    assert lines[:2] == ["failed", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: \\x1b[2J"


def test_one_line_is_one_line() -> None:
    assert one_line("first\n  second\r\n\nthird\u2028fourth") == "first; second; third; fourth"


def test_columns_are_as_wide_as_their_cells() -> None:
    assert table(["A", "B"], [["long one", "1"], ["x", "22"]], right=(1,)) == "A          B\nlong one   1\nx         22"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (119, "119s"), (150, "2m"), (7_200, "2h"), (180_000, "2d"), (None, "?")]
)
def test_an_age_is_short(seconds: float | None, words: str) -> None:
    assert age(seconds) == words


def test_what_is_no_text_is_shown_as_base64() -> None:
    from datetime import UTC, datetime

    from leveler.cli.messages import as_data, letter_text

    letter = Message(id="1", body=b"\xff\x00", time=datetime.now(UTC), death=Death(reason="undecodable"))

    assert as_data(letter)["body_base64"] == "/wA="
    assert "\\xff" in letter_text(letter)


def _wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(("level", "is_told"), [("info", False), ("debug", True)])
def test_client_libraries_do_not_tell_of_every_request(
    level: str, is_told: bool, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They log at "info" what happens a thousand times a second; the handlers' own "info" is shown."""
    chatty = logging.getLogger(f"chatty.{uuid.uuid4().hex}")
    monkeypatch.setattr(SQLiteAdapter, "loggers", (chatty.name,))
    monkeypatch.setattr("leveler.cli.run._work", _nothing_to_do)
    (tmp_path / "quiet_app.py").write_text(
        "from leveler import Leveler\napp = Leveler()\n@app.consumer('orders')\nasync def work(body: dict) -> None: ..."
    )
    broker = f"sqlite:///{tmp_path / 'orders.db'}"
    assert cli("run", "quiet_app:app", "--broker", broker, "--log-level", level).code == 0
    assert chatty.level == (logging.NOTSET if is_told else logging.WARNING)


async def _nothing_to_do(app: Leveler, queues: Collection[str], line: None) -> int:
    return 0
