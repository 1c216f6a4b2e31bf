"""The one seam where SQLite's errors become leveler's."""

from __future__ import annotations

import os
import sqlite3

from leveler.errors import AccessDenied, BrokerError, BrokerUnavailable, ConfigError, LevelerError, MessageTooLarge


def primary_code(error: BaseException) -> int:
    """SQLite's result code without its details; 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Somebody else holds the lock."""
    return primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: BaseException) -> bool:
    """There is no room for more."""
    return primary_code(error) == sqlite3.SQLITE_FULL


def is_doubtful(error: BaseException) -> bool:
    """Of a commit: whether it is on the disk is not known."""
    return primary_code(error) == sqlite3.SQLITE_IOERR


def translate(error: Exception, path: str) -> LevelerError:
    """`error`, as leveler says it. Raise it ``from error``."""
    if isinstance(error, LevelerError):
        return error
    if is_busy(error):
        return locked(path)
    match primary_code(error):
        case sqlite3.SQLITE_FULL:
            return no_room(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_CANTOPEN:
            return AccessDenied(f"{path}: cannot be written ({error}): let this user write the file and its folder")
        case sqlite3.SQLITE_NOTADB:
            return ConfigError(f"{path}: is not an SQLite database: choose another path, or move the file away")
        case sqlite3.SQLITE_CORRUPT:
            return ConfigError(f"{path}: is damaged ({error}): restore it from a copy, or save what `.recover` finds")
        case sqlite3.SQLITE_TOOBIG:
            return MessageTooLarge(f"{path}: one of the values is more than SQLite can store")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM | sqlite3.SQLITE_PROTOCOL:
            return BrokerUnavailable(
                f"{path}: {error}: the disk or the memory of this host has failed; tried again later"
            )
        case _:
            return BrokerError(f"{path}: {type(error).__name__}: {error}")


def locked(path: str) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"{path}: another process holds the write lock (a backup, a shell in a transaction, or a stopped worker); "
        f"nothing was done: see who has it open with 'fuser -v {path}'"
    )


def no_room(path: str) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"{path}: no room for more messages ({_free(path)}): free some space there, or let workers drain the queues; "
        "what was accepted before is safe"
    )


def free_bytes(path: str) -> int:
    """Room on the file's file system, as far as anybody may use it."""
    found = os.statvfs(os.path.dirname(path))
    return found.f_bavail * found.f_frsize


def silent(path: str, seconds: float) -> str:
    return f"{path}: no answer from the disk within {seconds:g} s: it is stuck or overloaded"


def _free(path: str) -> str:
    try:
        return f"{free_bytes(path) / 2**20:.1f} MiB free on its file system"
    except OSError:
        return "the free space of its file system is not known"
