"""The one seam where the client library's errors become leveler's."""

from __future__ import annotations

from typing import Final

from aiohttp import ClientConnectorError
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError

from leveler.errors import (
    AccessDenied,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    LeaseLost,
    LevelerError,
    MessageTooLarge,
    QueueNotFound,
)

#: Refused before anything was done.
_NOT_NOW: Final = {
    "ServerBusy": "the service is over its limit for this queue or account and asks for fewer requests",
    "QueueBeingDeleted": "a queue of this name is being deleted, which takes half a minute or more",
    "AccountBeingCreated": "the account is not ready yet",
}


class Unanswered(BrokerUnavailable):
    """The request went out, and whether it was done is not known."""


class Gone(LeaseLost):
    """There is no such message any more."""


def translate(error: Exception, place: str) -> LevelerError:
    """`error`, as leveler says it. Raise it ``from error``.

    Args:
        error: any.
        place: the queue or the account, for messages.
    """
    if isinstance(error, LevelerError):
        return error
    if isinstance(error, TimeoutError):
        return Unanswered(f"{place}: no answer within the deadline: the service is stuck, overloaded or cut off")
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _of_answer(error, error.status_code, place)
    if isinstance(error, ClientAuthenticationError) or type(error).__name__ == "CredentialUnavailableError":
        return AccessDenied(f"{place}: no token from Entra ID: {_said(error)}: sign in, or put ACCOUNT:KEY@ in the URL")
    if isinstance(error, ServiceRequestError) and isinstance(error.inner_exception, ClientConnectorError):
        return BrokerUnavailable(f"{place}: {_said(error)}: see that the service can be reached from here")
    if isinstance(error, AzureError | OSError):
        return Unanswered(f"{place}: the connection ended before the answer: {_said(error)}")
    return BrokerError(f"{place}: {type(error).__name__}: {_said(error)}")


def _of_answer(error: HttpResponseError, status: int, place: str) -> LevelerError:
    code = code_of(error)
    if code == "MessageNotFound":
        return Gone(f"{place}: the message is not there any more: it was not ours to settle")
    if code == "PopReceiptMismatch":
        return LeaseLost(f"{place}: the lease has ended: somebody else may have the message")
    if code == "QueueNotFound":
        return QueueNotFound(f"{place}: there is no such queue: declare it, or correct the name")
    if code in _NOT_NOW or status == 503:
        return BrokerUnavailable(f"{place}: {_NOT_NOW.get(code, 'the service is busy')}; tried again later")
    if status in (401, 403):
        return AccessDenied(
            f"{place}: {code or status}: correct the account's key or signature, or give the identity the role "
            "'Storage Queue Data Contributor'; the clock of this machine must be right to 15 minutes"
        )
    if status == 413 or code == "RequestBodyTooLarge":
        return MessageTooLarge(f"{place}: the service takes messages of up to 64 KiB: send a reference to the data")
    if status >= 500 or status == 408:
        return Unanswered(f"{place}: the service failed with {status} {code}: it may have done it all the same")
    if status == 400:
        return ConfigError(f"{place}: refused as {code or 'a bad request'}: {_said(error)}")
    return BrokerError(f"{place}: {status} {code}: {_said(error)}")


def code_of(error: HttpResponseError) -> str:
    """The service's own word, the same in every form in which the library keeps it."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _said(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")
