"""The one seam where the errors of botocore and of SQS become leveler's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import ClientConnectionError, ClientConnectorError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidConfigError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    UnknownEndpointError,
)

from leveler.errors import (
    AccessDenied,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    InvalidMessage,
    LeaseLost,
    LevelerError,
    QueueNotFound,
)

_NO_QUEUE: Final = {"QueueDoesNotExist", "NonExistentQueue"}
_UNKNOWN_CALLER: Final = {
    "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredToken",
    "ExpiredTokenException", "InvalidAccessKeyId", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
    "InvalidSignatureException", "IncompleteSignature", "InvalidSecurity", "AuthFailure", "OptInRequired",
}  # fmt: skip
_DENIED: Final = {"AccessDenied", "AccessDeniedException", "KmsAccessDenied", "UnauthorizedOperation"}
_SKEWED: Final = {"RequestExpired", "RequestTimeTooSkewed"}
#: Refused for now; nothing was done.
_NOT_NOW: Final = {
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
    "TooManyRequestsException", "RequestLimitExceeded", "KmsThrottled", "OverLimit", "QueueDeletedRecently",
    "PurgeQueueInProgress", "429",
}  # fmt: skip
#: The receipt is no longer one of a message that is in flight.
_LOST: Final = {"ReceiptHandleIsInvalid", "MessageNotInflight"}
_BAD_CONTENT: Final = {"InvalidMessageContents", "UnsupportedOperation"}

_NO_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    SSOTokenLoadError,
)
_WRONG_SETTINGS: Final = (
    NoRegionError,
    InvalidRegionError,
    UnknownEndpointError,
    ProfileNotFound,
    InvalidConfigError,
    ValueError,
)


class Unanswered(BrokerUnavailable):
    """The request went out, and whether it was done is not known."""


class TooLong(BrokerError):
    """The messages are too large to go in one request; nothing was done."""


def translate(error: BaseException, place: str, doing: str) -> LevelerError:
    """What `error` means.

    Args:
        error: of a request, or from before it.
        place: where it was to go.
        doing: the operation and the queue, for people.
    """
    error = _broken(error)
    if isinstance(error, LevelerError):
        return error
    if isinstance(error, ClientError):
        return _answered(error, f"{place}: {doing}")
    if isinstance(error, _NO_CREDENTIALS):
        return AccessDenied(
            f"{place}: no usable AWS credentials were found ({_said(error)}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, name a profile=, or give this machine a role"
        )
    if isinstance(error, NoRegionError):
        return ConfigError(
            "no AWS region is known: write it into the URL (sqs://eu-central-1) or set AWS_DEFAULT_REGION"
        )
    if isinstance(error, _WRONG_SETTINGS):
        return ConfigError(f"{place}: {_said(error)}: correct the region, profile= or endpoint_url=")
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | SSLError):
        return BrokerUnavailable(
            f"{place}: cannot be reached ({_said(error)}): see that the region exists and that this machine may connect"
        )
    if isinstance(error, TimeoutError):
        return Unanswered(f"{place}: {doing}: no answer within the deadline")
    if isinstance(error, BotoCoreError | ClientConnectionError | OSError):
        return Unanswered(f"{place}: {doing}: the connection failed ({_said(error)})")
    return BrokerError(f"{place}: {doing}: {type(error).__name__}: {error}")


def of_entry(failed: Mapping[str, Any], place: str, doing: str) -> LevelerError:
    """What the answer to one entry of a batch means."""
    code = _word(failed.get("Code", ""))
    text = f"{place}: {doing}: {code}: {failed.get('Message', '')}".rstrip(": ")
    return _meaning(code, text, is_ours=bool(failed.get("SenderFault")), status=0)


def _answered(error: ClientError, where: str) -> LevelerError:
    response: Mapping[str, Any] = error.response
    said = response.get("Error", {})
    code = _word(said.get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{where}: {code}: {_short(said.get('Message', ''))}".rstrip(": ")
    return _meaning(code, text, is_ours=status < 500, status=status)


def _meaning(code: str, text: str, *, is_ours: bool, status: int) -> LevelerError:
    if code in _NO_QUEUE:
        return QueueNotFound(
            f"{text}: let it be created (declare: create), or correct its name, the region and account="
        )
    if code in _LOST or (code == "InvalidParameterValue" and "eceipt" in text):
        return LeaseLost(text)
    if (code in _UNKNOWN_CALLER and "ignature expired" in text) or code in _SKEWED:
        return AccessDenied(f"{text}: the clock of this machine is wrong by minutes: set it")
    if code in _UNKNOWN_CALLER:
        return AccessDenied(f"{text}: correct the AWS credentials, or renew them")
    if code in _DENIED:
        return AccessDenied(f"{text}: allow it in the policy of this role or user, or of the queue")
    if code in _NOT_NOW or status == 429:
        return BrokerUnavailable(f"{text}: SQS refuses it for now")
    if code == "BatchRequestTooLong":
        return TooLong(text)
    if code in _BAD_CONTENT:
        return InvalidMessage(text)
    if not is_ours:
        return Unanswered(text)
    return BrokerError(text)


def _broken(error: BaseException) -> BaseException:
    """What broke a connection under its request. It comes by the same name as that nobody was there, and only that one
    says that nothing was done."""
    cause = error.kwargs.get("error") if isinstance(error, EndpointConnectionError) else None
    if isinstance(cause, ClientConnectionError) and not isinstance(cause, ClientConnectorError):
        return cause
    return error


def _word(code: object) -> str:
    """Without what the older protocol puts before it."""
    return str(code).rpartition(".")[2]


def _said(error: BaseException) -> str:
    return _short(str(error) or type(error).__name__)


def _short(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".")
