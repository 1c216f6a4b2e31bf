"""A request to the admin API -> its response, without I/O."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from leveler_servicebus.emulator.admin import atom
from leveler_servicebus.emulator.admin.controls import Controls
from leveler_servicebus.emulator.admin.description import settings_of
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.namespace import AlreadyThere, Namespace
from leveler_servicebus.emulator.signature import MANAGE, Denied

_QUEUES: Final = "$Resources/queues"
_TOPICS: Final = "$Resources/topics"
_INFO: Final = "$namespaceinfo"
_CONTROLS: Final = "$emulator/"
_XML: Final = "application/atom+xml;type=entry;charset=utf-8"
_MOST_LISTED: Final = 100


@dataclass(frozen=True, kw_only=True)
class Request:
    """What came over HTTP; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    base: str = "http://127.0.0.1"


@dataclass(frozen=True)
class Response:
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = _XML


class Resources:
    """Queues as resources.

    Args:
        namespace: where they are.
        controls: what an emulator can be told.
    """

    def __init__(self, namespace: Namespace, controls: Controls) -> None:
        self._namespace = namespace
        self._controls = controls

    def answer(self, request: Request) -> Response:
        """Never raises for what a client can do wrong: it is told."""
        path = unquote(urlsplit(request.target).path).strip("/")
        try:
            if path.startswith(_CONTROLS):
                said = self._controls.act(path.removeprefix(_CONTROLS), request.headers, request.body)
                return Response(200, json.dumps(said).encode(), "application/json")
            if not self._may(request, path):
                raise PermissionError("Manage claim is required: 'Authorization' carries no token that we know.")
            return self._route(request, path)
        except PermissionError as error:
            return _failed(401, str(error))
        except AlreadyThere as error:
            return _failed(409, f"SubCode=40901. {error}")
        except LookupError as error:
            return _failed(404, str(error.args[0]))
        except ValueError as error:
            return _failed(400, str(error))

    def _may(self, request: Request, path: str) -> bool:
        try:
            grant = self._namespace.signatures.check(request.headers.get("authorization", ""), time.time())
        except Denied:
            return False
        return grant.covers(path.lower(), MANAGE, time.time())

    def _route(self, request: Request, path: str) -> Response:
        if path == _INFO:
            return Response(200, atom.xml(atom.namespace_entry("leveler-emulate", request.base)))
        if path in (_QUEUES, _TOPICS):
            queues = list(self._namespace) if path == _QUEUES else []
            return Response(200, self._page(request, queues, path))
        if request.method == "GET":
            return self._get(request, path)
        if request.method == "PUT":
            return self._put(request, path)
        if request.method == "DELETE":
            queue = self._find(path)
            self._namespace.delete(queue)
            self._controls.gone(queue)
            return Response(200)
        raise LookupError(f"there is nothing to {request.method} at '{path}'")

    def _get(self, request: Request, path: str) -> Response:
        """What is not there is an empty feed: as the service has it, and as the client expects."""
        queue = self._namespace.get(path)
        if queue is None:
            return Response(200, atom.xml(atom.feed([], link=f"{request.base}/{path}", next_link=None)))
        return Response(200, atom.xml(atom.queue_entry(queue, request.base)))

    def _put(self, request: Request, path: str) -> Response:
        said = atom.read_description(request.body)
        if "if-match" in request.headers:
            queue = self._find(path)
            self._namespace.update(queue, settings_of(said, queue.settings))
            return Response(200, atom.xml(atom.queue_entry(queue, request.base)))
        queue = self._namespace.create(path, settings_of(said))
        return Response(201, atom.xml(atom.queue_entry(queue, request.base)))

    def _find(self, path: str) -> Queue:
        queue = self._namespace.get(path)
        if queue is None:
            raise LookupError(f"the queue '{path}' does not exist")
        return queue

    def _page(self, request: Request, queues: list[Queue], path: str) -> bytes:
        query = parse_qs(urlsplit(request.target).query)
        skip, top = int(query.get("$skip", ["0"])[0]), int(query.get("$top", [str(_MOST_LISTED)])[0])
        top = max(1, min(top, _MOST_LISTED))
        link = f"{request.base}/{path}?$skip={{}}&$top={top}"
        entries = [atom.queue_entry(queue, request.base) for queue in queues[skip : skip + top]]
        more = skip + top < len(queues)
        return atom.xml(atom.feed(entries, link=link.format(skip), next_link=link.format(skip + top) if more else None))


def _failed(status: int, detail: str) -> Response:
    return Response(status, atom.error_body(status, detail), "application/xml;charset=utf-8")
