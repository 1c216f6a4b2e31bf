"""Who calls: OIDC tokens as Google signs them, with a key of the emulator's own that anybody may check."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from leveler.clock import Clock

ISSUER: Final = "https://accounts.google.com"

#: How long a token is good for, as at Google.
_LIFE_SECONDS: Final = 3600
#: The service may send one token many times; it is made anew well before its end.
_USE_SECONDS: Final = 600
_MOST_KEPT: Final = 1000


class Identity:
    """Signs tokens.

    Args:
        clock: the real time, whatever the emulator's own is: those who check a token know no other.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = secrets.token_hex(20)
        self._made: dict[tuple[str, str], tuple[float, str]] = {}

    def keys(self) -> dict[str, Any]:
        """The public half, as a JWKS document."""
        key = RSAAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self.key_id, "alg": "RS256", "use": "sig"}]}

    def token(self, service_account: str, audience: str) -> str:
        """A token that says: this is `service_account`, speaking to `audience`."""
        now = self._clock.now().timestamp()
        made_at, token = self._made.get((service_account, audience), (0.0, ""))
        if not token or not made_at <= now < made_at + _USE_SECONDS:
            token = self.sign(self.claims(service_account, audience))
            if len(self._made) >= _MOST_KEPT:
                self._made.clear()
            self._made[service_account, audience] = now, token
        return token

    def claims(self, service_account: str, audience: str) -> dict[str, Any]:
        now = int(self._clock.now().timestamp())
        subject = str(int(hashlib.sha256(service_account.encode()).hexdigest()[:17], 16))
        return {
            "iss": ISSUER,
            "aud": audience,
            "azp": subject,
            "sub": subject,
            "email": service_account,
            "email_verified": True,
            "iat": now,
            "exp": now + _LIFE_SECONDS,
        }

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": self.key_id})
