"""Message: the envelope. CloudEvents 1.0 attributes around body bytes that nobody changes.

One message is one `id` for all its life. A copy that leveler has to send (a delay that the broker does not have, a dead
letter, a replay) keeps it, and is told apart by its `generation` where duplicates are dropped: `Message.dedup_key`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

import msgspec

from leveler.checks import MAX_HEADER_BYTES, is_token

_T = TypeVar("_T")

JSON_TYPE: Final = "application/json"
DEFAULT_PRIORITY: Final = 4
MAX_PRIORITY: Final = 9

#: Error text in a dead letter: a larger one could make the dead letter itself too large to be sent.
MAX_DETAIL_BYTES: Final = 2048
#: What is kept of it where all of it would be too much, in bytes.
_SHORTER_DETAILS: Final = (1024, 256, 3)

# Received counters are believed only inside these bounds: they are data from outside.
_MAX_COUNT = 1_000_000

# What msgspec raises on bytes from outside, however hostile.
_MALFORMED = (msgspec.MsgspecError, UnicodeError, RecursionError)

# A body with more brackets than this might be nested so deep that only some of its readers can follow.
_DEPTH_RESERVE = 250


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """What a dead letter adds to its message. For whoever reads it: nothing is ever routed by it."""

    #: Why: ``exhausted``, ``rejected``, ``expired``, ``undecodable``, ``unknown-type``, ``crash-loop``, or the
    #: broker's own word.
    reason: str
    #: Class name of the last error, empty where there was none.
    error_type: str = ""
    #: The last error's text, cut to `MAX_DETAIL_BYTES`.
    detail: str = ""
    #: How many times the message was started.
    attempts: int = 0
    #: The queue that it was taken from.
    queue: str = ""
    #: When a run of it failed first, where the broker could remember that.
    first_failed_at: datetime | None = None
    #: When it was given up.
    last_failed_at: datetime | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # nothing in it refers back
    """One message: what it is (CloudEvents), what it carries, and how often it was tried."""

    #: Unique and kept for life; what duplicates are recognised by.
    id: str
    #: The payload, exactly as it was sent.
    body: bytes
    #: What the payload is: by default the name of its class.
    type: str = ""
    #: Who sent it, a URI reference.
    source: str = "/"
    #: When it was sent.
    time: datetime
    #: Media type of the body.
    content_type: str = JSON_TYPE
    #: Messages of one key are handled in order where the queue is ordered.
    key: str | None = None
    #: The sender's own headers: lower-case names, text values.
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    #: 0 to 9, higher first, where the broker has priorities.
    priority: int = DEFAULT_PRIORITY
    #: Not to be handled before.
    not_before: datetime | None = None
    #: Worthless after: dead-lettered as ``expired``.
    expires_at: datetime | None = None
    #: W3C trace context.
    traceparent: str | None = None

    #: How many times leveler has re-sent a copy of it.
    generation: int = 0
    #: Attempts spent before this copy was made; the broker counts on from here.
    attempts: int = 0
    #: When this life of it began, if that was not at `time`: its delay was over, or it was replayed.
    ready_at: datetime | None = None
    #: When a run of it failed first.
    failed_at: datetime | None = None
    #: How often it came back from the dead letters.
    replays: int = 0
    #: Starts alone that its process did not live to tell of; counted where `Capabilities.solos` is "marked".
    solos: int = 0
    #: Set on a dead letter only.
    death: Death | None = None

    @property
    def dedup_key(self) -> str:
        """What a broker that drops duplicates must compare: the same id again, unless it is leveler's own copy.

        A copy's key ends in a digest: ``42.1`` may be the id of somebody's next message, and a copy of ``42`` with
        that key would be dropped in its place. At most 128 characters, like every id.
        """
        if not self.generation:
            return self.id
        digest = hashlib.sha256(f"{self.id}\0{self.generation}".encode(errors="surrogatepass")).hexdigest()[:16]
        return f"{self.id[:96]}.{self.generation}.{digest}"

    def age_seconds(self, now: datetime) -> float:
        """How long it could have been handled already; never negative."""
        return max(0.0, (now - (self.ready_at or self.time)).total_seconds())

    def delay_seconds(self, now: datetime) -> float:
        """How long it must still wait; 0 when it may be handled."""
        return 0.0 if self.not_before is None else max(0.0, (self.not_before - now).total_seconds())

    def copy(self, *, attempts: int, not_before: datetime | None, failed_at: datetime | None) -> Message:
        """The copy that stands in for this message where a broker cannot delay, or give back without counting."""
        return msgspec.structs.replace(
            self, generation=self.generation + 1, attempts=attempts, not_before=not_before, failed_at=failed_at
        )

    def dead(self, death: Death) -> Message:
        """The dead letter of this message: the same id, body and headers, and why."""
        return msgspec.structs.replace(self, generation=self.generation + 1, not_before=None, death=death)

    def shortened(self) -> Iterator[Message]:
        """This dead letter with less and less of its death's detail, for a broker that may not have room for all."""
        death = self.death or Death(reason="")
        for most in (MAX_DETAIL_BYTES, *_SHORTER_DETAILS):
            shorter = msgspec.structs.replace(death, detail=cut(death.detail, most))
            yield msgspec.structs.replace(self, death=shorter)

    def replayed(self, now: datetime) -> Message:
        """The dead letter's message, to be tried again from the start."""
        return msgspec.structs.replace(
            self,
            generation=self.generation + 1,
            attempts=0,
            not_before=None,
            expires_at=None,  # whoever replays an expired message wants it handled
            ready_at=now,
            failed_at=None,
            replays=self.replays + 1,
            solos=0,
            death=None,
        )

    def attributes(self) -> dict[str, str]:
        """Everything but body and headers, as CloudEvents attributes: the binary mode's native headers."""
        out = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": _stamp(self.time),
            "datacontenttype": self.content_type,
        }
        if self.key is not None:
            out["partitionkey"] = self.key
        if self.expires_at is not None:
            out["expirytime"] = _stamp(self.expires_at)
        if self.traceparent is not None:
            out["traceparent"] = self.traceparent
        if self.priority != DEFAULT_PRIORITY:
            out["levelerpriority"] = str(self.priority)
        counts = {"generation": self.generation, "attempts": self.attempts}
        counts |= {"replays": self.replays, "solos": self.solos}
        out.update({"leveler" + name: str(count) for name, count in counts.items() if count})
        moments = {"notbefore": self.not_before, "readyat": self.ready_at, "failedat": self.failed_at}
        out.update({"leveler" + name: _stamp(moment) for name, moment in moments.items() if moment is not None})
        if self.death is not None:
            out["levelerdeath"] = msgspec.json.encode(self.death).decode()
        return out

    @classmethod
    def from_attributes(
        cls,
        attributes: Mapping[str, str],
        body: bytes,
        headers: Mapping[str, str],
        *,
        received_at: datetime,
        native_id: str = "",
    ) -> Self:
        """Read what `attributes` wrote, or what anybody else wrote: every attribute may be missing or wrong.

        Args:
            attributes: CloudEvents attributes, without any prefix.
            body, headers: the payload and the sender's headers, taken as they are.
            received_at: stands in for a missing time, from which the age counts: when the broker took the message
                in, where it can tell, else now.
            native_id: the broker's own id of the message, the same at every delivery: stands in for a missing
                id. Without it the id is derived from the body, and equal bodies get equal ids. An id that not every
                broker could carry in a copy (see `leveler.checks.is_token`) is replaced by its digest.
        """
        get = attributes.get
        return cls(
            id=_id(get("id") or native_id, body, get("time")),
            body=body,
            type=get("type") or "",
            source=get("source") or "/",
            time=_moment(get("time")) or received_at,
            content_type=get("datacontenttype", JSON_TYPE if "specversion" in attributes else ""),
            key=get("partitionkey") or None,
            headers=headers,
            priority=_count(get("levelerpriority"), DEFAULT_PRIORITY, MAX_PRIORITY),
            not_before=_moment(get("levelernotbefore")),
            expires_at=_moment(get("expirytime")),
            traceparent=get("traceparent") or None,
            # A forged one must not stand still at the bound: brokers would drop its copies as duplicates of each other.
            generation=_count(get("levelergeneration"), 0, _MAX_COUNT) % _MAX_COUNT,
            attempts=_count(get("levelerattempts"), 0, _MAX_COUNT),
            ready_at=_moment(get("levelerreadyat")),
            failed_at=_moment(get("levelerfailedat")),
            replays=_count(get("levelerreplays"), 0, _MAX_COUNT),
            solos=_count(get("levelersolos"), 0, _MAX_COUNT),
            death=_death(get("levelerdeath")),
        )

    def to_json(self) -> bytes:
        """The structured mode: one JSON object; the body as ``data`` where it is JSON, else ``data_base64``."""
        event: dict[str, Any] = dict(self.attributes())
        if self.headers:
            event["levelerheaders"] = msgspec.json.encode(dict(self.headers)).decode()
        if self.content_type == JSON_TYPE and _is_compact_json(self.body):
            event["data"] = msgspec.Raw(self.body)
        else:
            event["data_base64"] = self.body
        return msgspec.json.encode(event)

    @classmethod
    def from_json(cls, document: bytes, *, received_at: datetime, native_id: str = "") -> Self:
        """Read the structured mode. What is not a CloudEvent is a foreign message: its body is `document`."""
        event = _read(document, dict[str, msgspec.Raw])
        body = _body(event) if event and "specversion" in event and "id" in event else None
        if event is None or body is None:
            return cls.from_attributes({}, document, {}, received_at=received_at, native_id=native_id)
        texts = {name: _text(raw) for name, raw in event.items() if name not in ("data", "data_base64")}
        attributes = {name: text for name, text in texts.items() if text is not None}
        headers = _read(attributes.get("levelerheaders", ""), dict[str, str]) or {}
        return cls.from_attributes(attributes, body, headers, received_at=received_at, native_id=native_id)


def new_ids(count: int) -> list[str]:
    """Random ids, 128 bits each."""
    digits = os.urandom(16 * count).hex()
    return [digits[start : start + 32] for start in range(0, 32 * count, 32)]


def cut(text: str, limit_bytes: int) -> str:
    """`text` in at most `limit_bytes` of UTF-8, whole characters only."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= limit_bytes else data[: limit_bytes - 3].decode(errors="ignore") + "…"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: str | None) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(text)) if text else None
    except ValueError:
        return None


def _aware(moment: datetime | None) -> datetime | None:
    """`moment` in UTC, which it is taken for if it does not say; None where no calendar has it."""
    try:
        return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except OverflowError:
        return None


def _count(text: str | None, default: int, most: int) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        return default
    return min(int(text), most) if len(text) < 10 else most


def _death(text: str | None) -> Death | None:
    if text is None:
        return None
    death = _read(text[:MAX_HEADER_BYTES], Death)  # a longer one is not ours
    if death is None:
        return Death(reason="unreadable", detail=cut(text, MAX_DETAIL_BYTES))
    return msgspec.structs.replace(
        death,
        attempts=min(max(death.attempts, 0), _MAX_COUNT),
        first_failed_at=_aware(death.first_failed_at),
        last_failed_at=_aware(death.last_failed_at),
    )


def _id(given: str, body: bytes, time: str | None) -> str:
    """`given`, if a copy can carry it; else the same digest at every delivery, in every process."""
    if is_token(given):
        return given
    text = given or (time or "")
    return hashlib.sha256(text.encode(errors="surrogatepass") + b"\0" + (b"" if given else body)).hexdigest()[:32]


def _is_compact_json(body: bytes) -> bool:
    """Whether `body` can stand in a JSON document as it is and be cut out again byte for byte."""
    if not body or body[:1].isspace() or body[-1:].isspace():
        return False
    try:
        msgspec.json.decode(body)
        if body.count(b"[") + body.count(b"{") >= _DEPTH_RESERVE:
            # How deep a decoder can go depends on how deep its caller stands, and a reader may stand deeper than we.
            msgspec.json.decode(b"[" * _DEPTH_RESERVE + body + b"]" * _DEPTH_RESERVE, type=msgspec.Raw)
    except _MALFORMED:
        return False
    return True


def _text(raw: msgspec.Raw) -> str | None:
    """An attribute's value. Numbers and booleans as they are written; what no attribute may be is no value."""
    data = bytes(raw)
    if data[:1] == b'"':
        return _read(data, str)
    return None if data[:1] in (b"{", b"[", b"n") else data.decode(errors="replace")


def _body(event: Mapping[str, msgspec.Raw]) -> bytes | None:
    """The payload, byte for byte where it is JSON; None where it cannot be read."""
    if (encoded := bytes(event.get("data_base64", b"null"))) != b"null":
        return _read(encoded, bytes)
    data = bytes(event.get("data", b""))
    content_type = _text(event["datacontenttype"]) if "datacontenttype" in event else None
    if data[:1] != b'"' or (content_type or JSON_TYPE).partition(";")[0].strip().lower().endswith("json"):
        return data
    text = _read(data, str)
    return None if text is None else text.encode()


def _read(data: bytes | str, wanted: type[_T]) -> _T | None:
    """JSON from outside; None where it is not what is wanted, however hostile it is."""
    try:
        return msgspec.json.decode(data, type=wanted)
    except _MALFORMED:
        return None
