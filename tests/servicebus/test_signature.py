"""Shared access signatures, as the vendor's client makes them."""

from __future__ import annotations

import asyncio

import pytest
from azure.servicebus.aio._base_handler_async import ServiceBusSharedKeyCredential
from leveler_servicebus.emulator import Policy, Signatures
from leveler_servicebus.emulator.signature import Denied, Grant

OURS = Signatures([Policy(name="ours", key="secret"), Policy(name="sends", key="other", rights=frozenset({"send"}))])


def token(resource: str = "sb://127.0.0.1:5672/Q", *, name: str = "ours", key: str = "secret") -> tuple[str, int]:
    """A token that the client has made, and when it expires."""
    made = asyncio.run(ServiceBusSharedKeyCredential(name, key).get_token(resource))
    text = made.token if isinstance(made.token, str) else made.token.decode()
    return text, made.expires_on


def test_a_token_for_an_entity_is_good_for_it_and_what_is_below_it() -> None:
    text, expiry = token()

    grant = OURS.check(text, expiry - 1)

    assert grant.covers("q", "listen", expiry - 1)
    assert grant.covers("q/$deadletterqueue", "send", expiry - 1)
    assert not grant.covers("q2", "send", expiry - 1)
    assert not grant.covers("q", "send", expiry)


def test_a_token_for_the_namespace_is_good_for_all_of_it() -> None:
    text, expiry = token("sb://127.0.0.1:5672/")
    assert OURS.check(text, 0) == Grant("", frozenset({"send", "listen", "manage"}), float(expiry))


def test_a_policy_passes_on_its_rights_and_no_more() -> None:
    text, _ = token(name="sends", key="other")
    grant = OURS.check(text, 0)
    assert grant.covers("q", "send", 0)
    assert not grant.covers("q", "listen", 0)


def test_a_token_expires() -> None:
    text, expiry = token()
    with pytest.raises(Denied, match="expired"):
        OURS.check(text, expiry)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (token(key="wrong")[0], "key is not that of the policy 'ours'"),
        (token(name="nobody")[0], "not known here"),
        (token()[0].replace("se=", "se=1"), "key is not that"),
        (token()[0].replace("sr=sb", "sr=tb"), "key is not that"),
        ("SharedAccessSignature ", "no expiry"),
        ("SharedAccessSignature skn=ours&se=x&sig=&sr=", "no expiry"),
        ("Bearer something", "--trust-tokens"),
        ("", "--trust-tokens"),
    ],
)
def test_what_is_not_signed_with_our_key_is_denied_and_not_quoted(text: str, says: str) -> None:
    with pytest.raises(Denied, match=says) as denied:
        OURS.check(text, 0)
    assert "sig=" not in str(denied.value)


def test_no_repr_shows_a_key() -> None:
    assert "secret" not in repr(Policy(name="ours", key="secret"))
