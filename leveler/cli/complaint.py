"""What goes wrong, as one line on stderr and an exit code. A traceback is for bugs."""

from __future__ import annotations

import sys
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
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # whoever reads us has seen enough
            sys.stdout = None
            raise typer.Exit(OK) from None


def complain(what: LevelerError | str) -> None:
    """On stderr: one line, or as many as there are things wrong."""
    lines = [one_line(line) for line in str(what).splitlines() if line.strip()]
    print("\n".join(f"leveler: {line}" for line in lines), file=sys.stderr, flush=True)


def exit_code(error: LevelerError) -> int:
    if isinstance(error, ConfigError | MessageError | AccessDenied | QueueNotFound):
        return WRONG_INPUT
    return NO_BROKER if isinstance(error, BrokerUnavailable) else FAILED
