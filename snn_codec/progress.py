"""Bars for what takes a while, on stderr and only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(text: str, total: float | None, *, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, if that is a terminal; the function given takes what is done, in the units of `total`.

    Without a total, the bar only shows that something is going on. Processes beside the first one do not
    show theirs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    ) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)
