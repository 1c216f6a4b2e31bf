"""Atom: the entries and feeds around the description of a queue."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree

from leveler_servicebus.emulator.admin.description import description_of
from leveler_servicebus.emulator.entity.queue import Queue

ATOM: Final = "http://www.w3.org/2005/Atom"
CONNECT: Final = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
COUNTS: Final = "http://schemas.microsoft.com/netservices/2011/06/servicebus"

Element = ElementTree.Element


def read_description(body: bytes) -> dict[str, str]:
    """The elements of the description in an entry that a client sends.

    Raises:
        ValueError: there is none.
    """
    if b"<!" in body:
        raise ValueError("document types and entities have no place in a request")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ValueError(f"the body is no XML: {error}") from error
    description = root.find(f".//{{{CONNECT}}}QueueDescription")
    if description is None:
        raise ValueError("expected an entry with a QueueDescription: topics are not emulated")
    return {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in description}


def queue_entry(queue: Queue, base: str) -> Element:
    """What `get_queue` and `get_queue_runtime_properties` read."""
    entry = _entry(queue.name, f"{base}/{queue.name}")
    content = _child(entry, ATOM, "content", type="application/xml")
    description = _child(content, CONNECT, "QueueDescription")
    said = description_of(queue)
    active, dead = queue.counts(), queue.dead.counts() if queue.dead else None
    dead_count = sum(dead[:3]) if dead else 0
    size_bytes = queue.size_bytes + (queue.dead.size_bytes if queue.dead else 0)
    now = _now()
    times = {"CreatedAt": now, "UpdatedAt": now, "AccessedAt": now}
    numbers = {"SizeInBytes": str(size_bytes), "MessageCount": str(sum(active[:3]) + dead_count)}
    for name, text in {**said, **numbers, **times}.items():
        _child(description, CONNECT, name, text)
    details = _child(description, CONNECT, "CountDetails")
    for name, count in {
        "ActiveMessageCount": active.active + active.deferred,
        "DeadLetterMessageCount": dead_count,
        "ScheduledMessageCount": active.scheduled,
        "TransferMessageCount": 0,
        "TransferDeadLetterMessageCount": 0,
    }.items():
        _child(details, COUNTS, name, str(count))
    return entry


def namespace_entry(name: str, base: str) -> Element:
    entry = _entry(name, f"{base}/$namespaceinfo")
    info = _child(_child(entry, ATOM, "content", type="application/xml"), CONNECT, "NamespaceInfo")
    facts = {"MessagingSKU": "Standard", "Name": name, "NamespaceType": "Messaging", "CreatedTime": _now()}
    for key, text in facts.items():
        _child(info, CONNECT, key, text)
    return entry


def feed(entries: Iterable[Element], *, link: str, next_link: str | None) -> Element:
    """A page of entries."""
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _child(root, ATOM, "title", "Queues", type="text")
    _child(root, ATOM, "id", link)
    _child(root, ATOM, "updated", _now())
    _child(root, ATOM, "link", rel="self", href=link)
    if next_link is not None:
        _child(root, ATOM, "link", rel="next", href=next_link)
    root.extend(entries)
    return root


def error_body(code: int, detail: str) -> bytes:
    root = ElementTree.Element("Error")
    ElementTree.SubElement(root, "Code").text = str(code)
    ElementTree.SubElement(root, "Detail").text = detail
    return xml(root)


def xml(element: Element) -> bytes:
    text: bytes = ElementTree.tostring(element, encoding="utf-8", xml_declaration=True)
    return text


def _entry(title: str, link: str) -> Element:
    entry = ElementTree.Element(f"{{{ATOM}}}entry")
    _child(entry, ATOM, "id", link)
    _child(entry, ATOM, "title", title, type="text")
    _child(entry, ATOM, "published", _now())
    _child(entry, ATOM, "updated", _now())
    _child(entry, ATOM, "link", rel="self", href=link)
    return entry


def _child(parent: Element, namespace: str, name: str, text: str | None = None, **attributes: str) -> Element:
    child = ElementTree.SubElement(parent, f"{{{namespace}}}{name}", attributes)
    child.text = text
    return child


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
