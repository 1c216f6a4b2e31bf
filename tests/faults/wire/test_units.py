"""Operations are recognised whatever the chunks that they come in, and nothing is lost or invented on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader, ProtocolHeader

from tests.faults.wire.amqp import AmqpConversation
from tests.faults.wire.amqp1 import Amqp1Conversation
from tests.faults.wire.http import HttpConversation, Request
from tests.faults.wire.resp import RespConversation
from tests.faults.wire.sqs import Mood, SqsConversation
from tests.faults.wire.unit import Unit


def publish(channel: int, *bodies: bytes) -> bytes:
    frames: list[Any] = [commands.Basic.Publish(routing_key="orders"), ContentHeader(body_size=sum(map(len, bodies)))]
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in [*frames, *map(ContentBody, bodies)])


def deliver(channel: int, body: bytes) -> bytes:
    method = commands.Basic.Deliver("tag", 7, False, "", "orders")
    frames: list[Any] = [method, ContentHeader(body_size=len(body)), ContentBody(body)]
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in frames)


ACK = pamqp.frame.marshal(commands.Basic.Ack(7), 1)
REJECT = pamqp.frame.marshal(commands.Basic.Reject(7), 1)
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

#: What a client says, and a server; what looks like a frame inside a body is none.
CLIENT = ProtocolHeader().marshal() + publish(1, b"one", ACK) + HEARTBEAT + ACK + publish(2) + REJECT
SERVER = ACK + deliver(1, b"AMQP" + ACK) + HEARTBEAT + pamqp.frame.marshal(commands.Basic.Nack(8), 1)


def in_chunks(split: Callable[[bytes], Iterator[Unit]], data: bytes, size: int) -> list[Unit]:
    return [unit for at in range(0, len(data), size) for unit in split(data[at : at + size])]


def told(units: list[Unit]) -> list[tuple[str, bool, bool]]:
    return [(unit.name, unit.first, unit.last) for unit in units if unit.name]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 10_000])
def test_amqp_frames_are_recognised_across_the_borders_of_chunks(size: int) -> None:
    talk = AmqpConversation()
    requests, replies = in_chunks(talk.requests, CLIENT, size), in_chunks(talk.replies, SERVER, size)
    assert b"".join(unit.data for unit in requests) == CLIENT
    assert b"".join(unit.data for unit in replies) == SERVER
    content = [("publish", True, False), ("publish", False, False), ("publish", False, False), ("publish", False, True)]
    empty = [("publish", True, False), ("publish", False, True)]
    assert told(requests) == [*content, ("ack", True, True), *empty, ("reject", True, True)]
    delivery = [("deliver", True, False), ("deliver", False, False), ("deliver", False, True)]
    assert told(replies) == [("confirm", True, True), *delivery, ("confirm", True, True)]


def test_content_of_two_channels_may_be_mixed() -> None:
    one, two = ([*AmqpConversation().requests(publish(channel, b"body"))] for channel in (1, 2))
    mixed = b"".join(unit.data for pair in zip(one, two, strict=True) for unit in pair)
    assert [unit.last for unit in AmqpConversation().requests(mixed)] == [False] * 4 + [True] * 2


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


#: Binary content that looks like protocol, and commands in one line.
COMMANDS = [command(b"xadd", b"s", b"*", b"f", b"\r\n*1\r\n$4\r\nPING\r\n"), b"PING\r\n", command(b"HELLO", b"3")]
REPLIES = [
    b"$15\r\n1700000000000-0\r\n",
    b"+PONG\r\n",
    b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*0\r\n",
    b"*2\r\n*-1\r\n*3\r\n$-1\r\n:7\r\n$0\r\n\r\n",
    b"_\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n$2\r\n\r\n\r\n",
    b"-ERR no\r\n",
    b"~2\r\n,1.5\r\n#t\r\n",
]
PUSH = b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 64, 10_000])
def test_redis_commands_and_their_replies_are_recognised_across_the_borders_of_chunks(size: int) -> None:
    talk = RespConversation()
    asked = COMMANDS + [command(b"GET", b"%d" % number) for number in range(len(REPLIES) - len(COMMANDS))]
    requests = in_chunks(talk.requests, b"".join(asked), size)
    answered = [REPLIES[0], PUSH, *REPLIES[1:]]
    replies = in_chunks(talk.replies, b"".join(answered), size)
    assert [unit.data for unit in requests] == asked
    assert [unit.data for unit in replies] == answered
    names = [unit.name for unit in requests]
    assert names == ["XADD", "PING", "HELLO", *["GET"] * 5]
    told = [f"{name} reply" for name in names]
    told[REPLIES.index(b"_\r\n")] = ""
    assert [unit.name for unit in replies] == [told[0], "", *told[1:]]


def test_a_command_is_called_what_the_caller_calls_it() -> None:
    talk = RespConversation(lambda words: {b"abc": "complete"}.get(words[1], ""))
    [unit] = talk.requests(command(b"EVALSHA", b"abc", b"0"))
    [reply] = talk.replies(b":1\r\n")
    assert (unit.name, reply.name) == ("complete", "complete reply")


#: What ends a head may stand in a body, and what looks like a request, too.
ASKED = [
    b"GET /q/messages?n=32 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /q/messages HTTP/1.1\r\ncontent-length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n..",
    b"POST /q HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n0\r\n\r\n\r\n0\r\n\r\n",
    b"HEAD /q HTTP/1.1\r\n\r\n",
    b"DELETE /q/messages/7 HTTP/1.1\r\n\r\n",
    b"GET /q/messages?n=1 HTTP/1.1\r\n\r\n",
]
ANSWERED = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nnothing",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_http_requests_and_their_replies_are_recognised_across_the_borders_of_chunks(size: int) -> None:
    talk = HttpConversation(lambda request: request.method, is_empty=lambda body: body == b"nothing")
    requests = in_chunks(talk.requests, b"".join(ASKED), size)
    replies = in_chunks(talk.replies, b"".join(ANSWERED), size)
    assert [unit.data for unit in requests] == ASKED
    assert [unit.data for unit in replies] == ANSWERED
    assert [unit.name for unit in requests] == ["GET", "POST", "POST", "HEAD", "DELETE", "GET"]
    named = ["GET reply", "", "POST reply", "POST reply", "HEAD reply", "DELETE reply", ""]
    assert [unit.name for unit in replies] == named


def test_an_http_request_is_called_by_all_that_is_in_it() -> None:
    seen: list[Request] = []
    [*HttpConversation(lambda request: seen.append(request) or "").requests(ASKED[1])]  # type: ignore[func-returns-value]
    assert seen == [Request("POST", "/q/messages", {"content-length": "20"}, b"GET / HTTP/1.1\r\n\r\n..")]


def sqs_request(operation: str, content: bytes = b"{}") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.%b\r\nContent-Length: %d\r\n\r\n%b" % (
        operation.encode(),
        len(content),
        content,
    )


def sqs_answer(content: bytes, *, chunks: bool = False) -> bytes:
    if not chunks:
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)
    half = len(content) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:half], content[half:]) if part)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % parts


SQS_REQUESTS = [
    sqs_request("SendMessageBatch", b'{"Entries": []}'),
    sqs_request("ReceiveMessage"),
    sqs_request("ReceiveMessage"),
]
SQS_ANSWERS = [
    sqs_answer(b'{"Successful": []}'),
    sqs_answer(b"{}"),
    sqs_answer(b'{"Messages": [{"Body": "x"}]}', chunks=True),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_requests_of_sqs_and_their_answers_are_recognised_across_the_borders_of_chunks(size: int) -> None:
    talk = SqsConversation(Mood())
    requests = in_chunks(talk.requests, b"".join(SQS_REQUESTS), size)
    replies = in_chunks(talk.replies, b"".join(SQS_ANSWERS), size)
    assert [unit.data for unit in requests] == SQS_REQUESTS
    assert [unit.data for unit in replies] == SQS_ANSWERS
    assert [unit.name for unit in requests] == ["SendMessageBatch", "ReceiveMessage", "ReceiveMessage"]
    assert [unit.name for unit in replies] == ["SendMessageBatch reply", "", "ReceiveMessage reply"]


def test_what_is_throttled_is_not_done() -> None:
    talk = SqsConversation(Mood(throttles=True))
    [sent] = talk.requests(sqs_request("SendMessageBatch"))
    said = sqs_answer(b'{"__type": "InvalidAction"}').replace(b"\r\n", b"\r\nx-amzn-query-error: InvalidAction\r\n", 1)
    [answer] = talk.replies(said)
    assert b"AmazonSQS.SendMessageBatch" not in sent.data
    assert b"400 Bad Request" in answer.data
    assert b"RequestThrottled" in answer.data
    assert b"InvalidAction" not in answer.data
    [sent] = talk.requests(sqs_request("SendMessageBatch"))
    assert sent.data == sqs_request("SendMessageBatch")


def test_half_of_a_batch_is_not_done_and_said_to_have_failed() -> None:
    talk = SqsConversation(Mood(does_half=True))
    entries = b'{"Entries": [{"Id": "0"}, {"Id": "1"}, {"Id": "2"}]}'
    [sent] = talk.requests(sqs_request("DeleteMessageBatch", entries))
    [answer] = talk.replies(sqs_answer(b'{"Successful": [{"Id": "0"}, {"Id": "2"}]}'))
    assert b'{"Entries": [{"Id": "0"}, {"Id": "2"}]}' in sent.data
    assert b'"Failed": [{"Id": "1"' in answer.data


def frame(performative: int, payload: bytes = b"", *, kind: int = 0) -> bytes:
    body = bytes([0x00, 0x53, performative, 0xC0, 0x01, 0x00]) + payload
    return (len(body) + 8).to_bytes(4, "big") + bytes([2, kind, 0, 0]) + body


_HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"
_OPEN = [b"AMQP\x03\x01\x00\x00", frame(0x41, kind=1), b"AMQP\x00\x01\x00\x00", frame(0x10), _HEARTBEAT]
#: What a client of Service Bus says, and what it is told; a transfer may hold what looks like another frame.
TOLD = [
    *_OPEN,
    frame(0x14, b"operation put-token"),
    frame(0x14, frame(0x15)),
    frame(0x14, b"com.microsoft:update-disposition com.microsoft:server-timeout"),
    frame(0x14, b"com.microsoft:renew-lock com.microsoft:server-timeout"),
    frame(0x14, b"com.microsoft:peek-message com.microsoft:server-timeout"),
    frame(0x15),
]
HEARD = [
    *_OPEN,
    frame(0x14, b"status-code"),
    frame(0x15),
    frame(0x14, b"statusCode"),
    frame(0x14, b"a message"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 64, 10_000])
def test_operations_of_service_bus_are_recognised_across_the_borders_of_chunks(size: int) -> None:
    talk = Amqp1Conversation()
    requests = in_chunks(talk.requests, b"".join(TOLD[:8]), size)
    replies = in_chunks(talk.replies, b"".join(HEARD), size)
    assert [unit.data for unit in requests] == TOLD[:8]
    assert [unit.data for unit in replies] == HEARD
    assert [unit.name for unit in requests] == [*[""] * 6, "send", "settle"]
    assert [unit.name for unit in replies] == [*[""] * 5, "settle reply", "send reply", "settle reply", "delivery"]


def test_what_service_bus_answers_is_called_by_what_was_asked() -> None:
    talk = Amqp1Conversation()
    names = []
    for asked in TOLD[7:10]:
        [unit] = talk.requests(asked)
        [reply] = talk.replies(frame(0x14, b"statusCode"))
        names += [unit.name, reply.name]
    assert names == ["settle", "settle reply", "renew", "renew reply", "", ""]


def test_of_service_bus_clients_the_receivers_listen() -> None:
    opens = [frame(0x10, b"SBSender-1"), frame(0x10, b"SBReceiver-1")]
    talks = [Amqp1Conversation() for _ in opens]
    for talk, opening in zip(talks, opens, strict=True):
        list(talk.requests(opening))
    assert [talk.listens for talk in talks] == [False, True]


def test_a_flow_is_no_question_to_service_bus() -> None:
    talk = Amqp1Conversation()
    units = [unit for data in (frame(0x12, b""), frame(0x13, b""), frame(0x14, b"")) for unit in talk.requests(data)]
    assert [unit.asks for unit in units] == [True, False, True]
