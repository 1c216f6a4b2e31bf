"""The one seam where Redis's errors become leveler's."""

from __future__ import annotations

import ssl
from typing import Final

from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from leveler.errors import AccessDenied, BrokerError, BrokerUnavailable, ConfigError, LevelerError, QueueNotFound

#: The first word of an answer that says: not now. What follows is what to look at.
_NOT_NOW: Final = {
    "LOADING": "the server is reading its data after a start; tried again later",
    "READONLY": "this server has become a replica: the connection is made anew, to whoever is the master by then",
    "MASTERDOWN": "the replica has lost its master; tried again later",
    "CLUSTERDOWN": "the cluster has no majority; tried again later",
    "TRYAGAIN": "the cluster is moving this queue; tried again later",
    "BUSY": "a script of somebody else's keeps the server busy: SCRIPT KILL ends it",
    "OOM": "the server is at its maxmemory: let workers drain the queues, or raise it; what was accepted is safe",
    "MISCONF": "the server cannot write to its disk and so takes nothing: see its log",
    "NOREPLICAS": "fewer replicas are connected than min-replicas-to-write asks for",
    "NOSCRIPT": "the server has forgotten our scripts; tried again",
    "UNBLOCKED": "somebody has ended the wait; tried again",
}
#: After these the same connection would only say the same again.
_CONNECT_AGAIN: Final = ("READONLY", "MASTERDOWN")


def word_of(error: BaseException) -> str:
    """The first word of an answer, which Redis promises to keep."""
    text = str(error)
    word = text.partition(" ")[0].rstrip(":")
    if word.isupper():
        return word
    # The client takes it away where it has a class for it; a script puts its own words before it.
    return _WORDS.get(type(error).__name__, "") or _inner_word(text)


_WORDS: Final = {
    "BusyLoadingError": "LOADING",
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "NoScriptError": "NOSCRIPT",
    "AskError": "ASK",
    "MovedError": "MOVED",
    "ClusterCrossSlotError": "CROSSSLOT",
    "TryAgainError": "TRYAGAIN",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
}


def _inner_word(text: str) -> str:
    return next((word for word in ("NOGROUP", *_NOT_NOW) if f"{word} " in text), "")


def is_lost_group(error: BaseException) -> bool:
    return isinstance(error, ResponseError) and word_of(error) == "NOGROUP"


def wants_another_connection(error: BaseException) -> bool:
    return isinstance(error, ResponseError) and word_of(error) in _CONNECT_AGAIN


def translate(error: Exception, server: str) -> LevelerError:
    """`error`, as leveler says it. Raise it ``from error``."""
    if isinstance(error, LevelerError):
        return error
    word = word_of(error)
    if isinstance(error, AuthenticationError | NoPermissionError) or word in ("NOAUTH", "WRONGPASS", "NOPERM"):
        return AccessDenied(f"{server}: {_said(error)}: correct the user and the password, or the user's ACL rules")
    if word in _NOT_NOW:
        return BrokerUnavailable(f"{server}: {_NOT_NOW[word]} ({_said(error)})")
    if word in ("MOVED", "ASK", "CROSSSLOT"):
        return ConfigError(
            f"{server}: is a node of a Redis Cluster, and the queue is on another one: give the URL of a server, or of "
            f"a proxy, that has all of it ({_said(error)})"
        )
    if word == "NOGROUP":
        return QueueNotFound(f"{server}: the queue, or its consumer group, is gone: declare it again ({_said(error)})")
    if word == "WRONGTYPE":
        return ConfigError(
            f"{server}: a key of the queue holds something that is no queue: set another prefix= ({_said(error)})"
        )
    if "DB index" in str(error):
        return ConfigError(f"{server}: {_said(error)}: correct the number at the end of the URL, which is 0 by default")
    if isinstance(error, InvalidResponse):
        return BrokerError(
            f"{server}: {_said(error)}: if that is no Redis server, correct host and port; for TLS use rediss://"
        )
    if isinstance(error, ssl.SSLError) or "SSL" in str(error) or "certificate" in str(error).lower():
        return BrokerUnavailable(
            f"{server}: no TLS connection ({_said(error)}): if its certificate is signed by an authority of your own, "
            "name that one's file with tls_ca_file="
        )
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return BrokerUnavailable(f"{server}: {_said(error)}: see that the server runs and can be reached from here")
    if isinstance(error, RedisError):
        return BrokerError(f"{server}: {_said(error)}")
    return BrokerError(f"{server}: {type(error).__name__}: {error}")


def silent(server: str) -> BrokerUnavailable:
    return BrokerUnavailable(f"{server}: no answer within the deadline: it is stuck, overloaded or cut off")


def _said(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")
