"""What the command line shows on a terminal: tables, and the bar of a run that takes a while."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.text import shown


def table(heads: list[str], rows: list[list[str]]) -> None:
    """Print rows under their heads."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        made.add_row(*(Text(shown(cell)) for cell in row))  # as text: names may hold what looks like markup
    Console(width=None if sys.stdout.isatty() else 240).print(made)


@contextmanager
def bar() -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and remaining time on a terminal; a line a minute elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        from ..core.progress import Progress as Lines

        yield Lines("drew", "patients").show
        return
    columns = (
        TextColumn("patients"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as bar:
        task, began, first = bar.add_task("patients", total=None, rate=""), time.monotonic(), -1

        def show(done: int, total: int) -> None:
            nonlocal first
            first = done if first < 0 else first
            rate = (done - first) / (time.monotonic() - began)
            bar.update(task, completed=done, total=total, rate=f"{rate:.1f} patients/s" if rate else "")

        yield show
