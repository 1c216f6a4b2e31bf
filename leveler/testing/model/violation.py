"""Violation: what an adapter did against the contract."""

from __future__ import annotations


class Violation(AssertionError):
    """The text says what was done with which message, and what was due."""


def check(right: bool, otherwise: str) -> None:
    if not right:
        raise Violation(otherwise)
