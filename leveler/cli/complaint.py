"""What goes wrong, as one line on stderr and an exit code. A traceback is for bugs."""

from __future__ import annotations

import sys
from traceback import print_exception
from types import TracebackType
from typing import Any, Final

import typer
from typer.core import TyperGroup

from leveler.cli.terminal import one_line
from leveler.errors import AccessDenied, BrokerUnavailable, ConfigError, LevelerError, MessageError, QueueNotFound

OK: Final = 0
FAILED: Final = 1
WRONG_INPUT: Final = 2
NO_BROKER: Final = 3
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: 0 it is done; 1 it failed, or something is not healthy; 2 the input is wrong (arguments, "
    "configuration, credentials, data); 3 the broker does not answer."
)


class Commands(TyperGroup):
    """Commands whose errors are one line each."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LevelerError as error:
            complain(error)
            raise typer.Exit(exit_code(error)) from None
        except ImportFailed as failed:
            failed.show()
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # whoever reads us has seen enough
            sys.stdout = None
            raise typer.Exit(OK) from None


class ImportFailed(Exception):
    """The user's module raised `error` while it was imported: a bug of theirs, with a traceback of their own lines.

    Args:
        reference: of the app.
        error: what it raised.
        trace: from the first frame of theirs.
    """

    def __init__(self, reference: str, error: BaseException, trace: TracebackType | None) -> None:
        super().__init__(reference)
        self._reference = reference
        self._error = error
        self._trace = trace

    def show(self) -> None:
        """On stderr."""
        print_exception(type(self._error), self._error, self._trace)
        what = f"{type(self._error).__name__}: {self._error}".rstrip(": ")
        complain(f"app {self._reference!r} cannot be imported: {one_line(what)}")


def complain(what: LevelerError | str) -> None:
    """On stderr: one line, or as many as there are things wrong."""
    lines = [one_line(line) for line in str(what).splitlines() if line.strip()]
    print("\n".join(f"leveler: {line}" for line in lines), file=sys.stderr, flush=True)


def exit_code(error: LevelerError) -> int:
    if isinstance(error, ConfigError | MessageError | AccessDenied | QueueNotFound):
        return WRONG_INPUT
    return NO_BROKER if isinstance(error, BrokerUnavailable) else FAILED
