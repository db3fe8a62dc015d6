"""Remarks: what a reader of real data dropped or changed, counted; printed once and kept in the card of the weights."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_kept: ContextVar["dict[str, None] | None"] = ContextVar("remarks", default=None)
_shown: ContextVar[Callable[[str], None] | None] = ContextVar("shown", default=None)


class DataWarning(UserWarning):
    """Real data were not taken as they stand: values dropped, ids matched by another spelling."""


def remark(text: str) -> None:
    """Say, once, what was dropped or changed on reading. It is a DataWarning unless `remarks()` shows it."""
    kept = _kept.get()
    if kept is not None and text in kept:
        return
    if kept is not None:
        kept[text] = None
    if show := _shown.get():
        show(text)
    else:
        warnings.warn(text, DataWarning, stacklevel=3)


@contextmanager
def remarks(show: Callable[[str], None] | None = None) -> Iterator[dict[str, None]]:
    """The remarks made inside the block, once each and in order, as keys; `show` gets each (default: the outer one)."""
    found: dict[str, None] = {}
    kept, shown = _kept.set(found), _shown.set(show or _shown.get())
    try:
        yield found
    finally:
        _kept.reset(kept)
        _shown.reset(shown)
