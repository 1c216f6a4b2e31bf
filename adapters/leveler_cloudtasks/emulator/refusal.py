"""What the service answers where it does not do what it was asked to."""

from __future__ import annotations

import grpc


class Refused(Exception):
    """An RPC that ends in an error: one of gRPC's codes, and a text for people."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(what: str) -> Refused:
    return Refused(grpc.StatusCode.NOT_FOUND, f"{what} does not exist.")
