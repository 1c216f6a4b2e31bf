"""The tree that users read is the tree that they catch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

import leveler
from leveler import errors
from leveler.errors import BatchError, LeaseLost, LevelerError, SendUnknown

DRAWN = re.compile(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: {2,}(?P<meaning>\S.*))?$")


def drawn_tree() -> Iterator[tuple[str, str]]:
    """Child and parent, as the docstring of `leveler.errors` draws them."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := DRAWN.match(line):
            del path[len(match["branch"]) // 4 :]
            yield match["name"], path[-1] if path else "Exception"
            path.append(match["name"])


def real_tree() -> Iterator[tuple[str, str]]:
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, Exception) and kind.__module__ == errors.__name__:
            (parent,) = kind.__bases__
            yield name, parent.__name__


def all_below(kind: type[LevelerError]) -> Iterator[type[LevelerError]]:
    for child in kind.__subclasses__():
        yield child
        yield from all_below(child)


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    drawn = dict(drawn_tree())
    assert len(drawn) > 15
    assert drawn == dict(real_tree())


def test_every_error_of_the_core_stands_in_the_tree() -> None:
    in_the_core = {kind.__name__ for kind in all_below(LevelerError) if kind.__module__.startswith("leveler.")}
    assert in_the_core | {"LevelerError"} == dict(real_tree()).keys()


def test_every_error_says_what_it_means() -> None:
    assert [kind for kind in all_below(LevelerError) if not (kind.__dict__.get("__doc__") or "").strip()] == []


def test_every_error_that_a_user_may_catch_is_exported() -> None:
    internal = {"ReceiverLost"}  # the core rebuilds receivers: users never see one
    missing = [name for name, _ in real_tree() if name not in internal and not hasattr(leveler, name)]
    assert missing == []


def test_a_batch_error_names_the_first_failed_item() -> None:
    error = BatchError({4: SendUnknown("no answer"), 2: LeaseLost("too late")})
    assert str(error) == "2 of the batch failed; item 2: too late"
    assert list(error.failed) == [4, 2]


def test_a_batch_error_keeps_a_copy_of_what_failed() -> None:
    failed: dict[int, LevelerError] = {0: LeaseLost("x")}
    error = BatchError(failed)
    failed.clear()
    assert error.failed.keys() == {0}


def test_a_batch_error_without_a_failed_item_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="is a success"):
        BatchError({})
