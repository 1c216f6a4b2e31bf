"""The one seam where the client library's errors become leveler's."""

from __future__ import annotations

from typing import Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.servicebus import exceptions as sdk

from leveler.errors import (
    AccessDenied,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    LeaseLost,
    LevelerError,
    MessageTooLarge,
    QueueFull,
    QueueNotFound,
)


class Unanswered(BrokerUnavailable):
    """It went out, and whether it was done is not known."""


#: Refused before anything was done, and worth another try.
_NOT_NOW: Final = (sdk.ServiceBusServerBusyError, sdk.SessionCannotBeLockedError, sdk.MessagingEntityDisabledError)


def translate(error: BaseException, place: str) -> LevelerError:
    """`error`, as leveler says it. Raise it ``from error``.

    Args:
        error: any.
        place: the queue or the namespace, for messages.
    """
    if isinstance(error, LevelerError):
        return error
    if isinstance(error, sdk.MessageLockLostError | sdk.SessionLockLostError | sdk.MessageAlreadySettled):
        return LeaseLost(f"{place}: the lease has ended: somebody else may have the message")
    if isinstance(error, sdk.MessagingEntityNotFoundError | ResourceNotFoundError):
        return QueueNotFound(f"{place}: there is no such queue: declare it, or correct the name")
    if isinstance(error, sdk.ServiceBusAuthenticationError | sdk.ServiceBusAuthorizationError):
        return _denied(error, place)
    if isinstance(error, sdk.MessageSizeExceededError):
        return MessageTooLarge(f"{place}: larger than the namespace's tier takes: send a reference to the data")
    if isinstance(error, sdk.ServiceBusQuotaExceededError):
        return QueueFull(f"{place}: the queue is at its size quota: send again when there is room, or raise it")
    if isinstance(error, _NOT_NOW):
        return BrokerUnavailable(f"{place}: {_said(error)}: tried again later")
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _of_admin(error, error.status_code, place)
    if isinstance(error, ServiceRequestError):
        return BrokerUnavailable(f"{place}: {_said(error)}: see that the admin API can be reached from here")
    if isinstance(error, ClientAuthenticationError) or type(error).__name__ == "CredentialUnavailableError":
        return AccessDenied(f"{place}: no token from Entra ID: {_said(error)}: sign in, or put POLICY:KEY@ in the URL")
    if isinstance(error, TimeoutError | sdk.OperationTimeoutError):
        return Unanswered(f"{place}: no answer within the deadline: the service is stuck, overloaded or cut off")
    if isinstance(error, sdk.ServiceBusError) and "not-allowed" in str(error) and "session" in str(error).lower():
        return ConfigError(
            f"{place}: RequiresSession of the queue and ordered differ: set ordered as the queue is, or make it anew: "
            f"{_said(error)}"
        )
    if isinstance(error, AzureError | OSError | RuntimeError | ValueError | AttributeError):
        # The library's own state after a lost link shows in any of these.
        return Unanswered(f"{place}: the link ended before the answer: {_said(error)}")
    return BrokerError(f"{place}: {type(error).__name__}: {_said(error)}")


def _of_admin(error: HttpResponseError, status: int, place: str) -> LevelerError:
    if status in (401, 403):
        return _denied(error, place)
    if status == 400:
        return ConfigError(f"{place}: the admin API refuses it: {_said(error)}")
    return BrokerUnavailable(f"{place}: the admin API says {status}: {_said(error)}; tried again later")


def _denied(error: BaseException, place: str) -> AccessDenied:
    return AccessDenied(
        f"{place}: {_said(error)}: correct the policy and its key, or give the identity the role 'Azure Service Bus "
        "Data Owner' (making and looking at queues takes Manage)"
    )


def _said(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")
