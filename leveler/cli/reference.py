"""``module:attribute`` -> the app that it names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from leveler.cli.complaint import ImportFailed
from leveler.errors import ConfigError, LevelerError

if TYPE_CHECKING:
    from leveler.app import Leveler


def load(reference: str) -> Leveler:
    """The app that `reference` names, ``module:attribute``; the attribute is ``app`` by default.

    The module is looked for in the current directory first.

    Raises:
        ImportFailed: the module raised something of its own.
        ConfigError: no such module or attribute, or it is no `Leveler`.
        LevelerError: the module uses leveler wrongly; says where.
    """
    from leveler.app import Leveler

    module_name, _, attribute = reference.partition(":")
    found: object = _module(module_name, reference)
    for name in (attribute or "app").split("."):
        if not hasattr(found, name):
            raise ConfigError(f"app {reference!r}: module {module_name!r} has no {name!r}{_hint(module_name)}")
        found = getattr(found, name)
    if not isinstance(found, Leveler):
        raise ConfigError(f"app {reference!r} is a {type(found).__name__}, not a Leveler{_hint(module_name)}")
    return found


def _module(name: str, reference: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"app {reference!r}: expected module:attribute, for example 'orders.worker:app'")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the user's module misses is the user's error, and its traceback says where.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ImportFailed(reference, error, _theirs(error.__traceback__)) from None
        meant = f"; did you mean {name.removesuffix('.py')!r}?" if name.endswith(".py") else ""
        raise ConfigError(
            f"app {reference!r}: no module {error.name!r}, neither in {os.getcwd()} nor installed{meant}"
        ) from None
    except LevelerError as error:
        raise type(error)(f"{_place(error, name)}{error}") from error
    except Exception as error:
        raise ImportFailed(reference, error, _theirs(error.__traceback__)) from None


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """`trace` from the user's first line on: how it was imported is of no interest."""
    ours = (__file__, importlib.__file__, "<frozen importlib")
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    return trace


def _place(error: Exception, module_name: str) -> str:
    """Where the user's module went wrong."""
    module = sys.modules.get(module_name) or importlib.util.find_spec(module_name)
    file = getattr(module, "__file__", None) or getattr(module, "origin", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{os.path.relpath(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""


def _hint(module_name: str) -> str:
    """The apps that the module does have."""
    from leveler.app import Leveler

    there = [name for name, value in vars(sys.modules[module_name]).items() if isinstance(value, Leveler)]
    return "; it has " + ", ".join(f"'{module_name}:{name}'" for name in sorted(there)) if there else ""
