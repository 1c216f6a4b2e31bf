"""The Redis adapter keeps the contract and the model, on a real server, in real time."""

from __future__ import annotations


