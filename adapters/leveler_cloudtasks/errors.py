"""The one seam where errors of Google's client become leveler's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError

from leveler.errors import (
    AccessDenied,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    LevelerError,
    MessageTooLarge,
    QueueNotFound,
    SendUnknown,
)

#: Nobody said what has become of the call.
_UNANSWERED: Final = (google.DeadlineExceeded, google.RetryError, google.ServiceUnavailable, google.Cancelled)
#: What gRPC says where the call has not left this machine; there is no code for that.
_NOT_CONNECTED: Final = "failed to connect"


@contextmanager
def mapped(what: str, *, sends: bool = False) -> Iterator[None]:
    """Whatever the client raises inside is raised as ours.

    Args:
        what: was asked for, as an error begins with it.
        sends: a call whose answer was lost may have been done, and must not be said not to be.
    """
    try:
        yield
    except (google.GoogleAPICallError, google.RetryError, GoogleAuthError) as error:
        raise _ours(error, what, sends) from error


def _ours(error: Exception, what: str, sends: bool) -> LevelerError:
    text = f"{what}: {getattr(error, 'message', '') or error}"
    match error:
        case google.NotFound():
            return QueueNotFound(f"{text} Declare it with declare: create, or check its name, project and location")
        case google.PermissionDenied() | google.Unauthenticated() | GoogleAuthError():
            return AccessDenied(f"{text} Give these credentials the roles that Cloud Tasks asks for")
        case google.FailedPrecondition():
            return ConfigError(f"{text} The name of a deleted queue is free again after 7 days: choose another")
        case google.InvalidArgument() if "too large" in str(error):
            return MessageTooLarge(text)
        case google.InvalidArgument():
            return ConfigError(text)
        case google.TooManyRequests():
            return BrokerUnavailable(text)
    if not isinstance(error, _UNANSWERED):
        return BrokerError(text)
    if sends and _NOT_CONNECTED not in text.lower():
        return SendUnknown(f"{text} It may or may not be queued: send it again with the same id")
    return BrokerUnavailable(text)
