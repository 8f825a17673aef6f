"""Waiting for people, humanely: what is asked, what is answered, by whom, and where to go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.client.progress import Progress
from labelstudio.client.projects import Project
from labelstudio.exchange.records import AnnotationError, Answer

console = Console(stderr=True)


def wait(
    client: LabelStudio,
    project: Project,
    keys: Iterable[str],
    *,
    limit_s: float | None,
    enough: int | None = None,
    tell: Callable[[str, Progress], None] = lambda event, progress: None,
    poll_s: float = 2.0,
    experts: int = 1,
    known: Sequence[Answer] = (),
) -> None:
    """Return when every one of these queries has answers of so many different experts (see ``client.progress``).

    See ``patience`` for when fewer queries are ``enough``.

    Raises AnnotationError when they are not after ``limit_s`` seconds. A server that cannot be reached
    for a while is waited for, too. Nothing is lost by interrupting: what was answered lies on the server.
    ``tell`` hears of "opened", "half-way" and "closed".
    """
    asked = list(keys)
    enough = len(asked) if enough is None else enough
    # By the clock on the wall, which a machine that sleeps until the deadline does not stop.
    deadline = None if limit_s is None else time.time() + limit_s
    progress: Progress | None = None
    first: int | None = None
    shown = ""
    # Without a terminal, a line when something changes takes the place of the live display.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while True:
                trouble = ""
                asked_at = time.monotonic()
                try:
                    first = client.first(project, asked) if first is None else first
                    progress = client.progress(project, asked, experts, known, since=first)
                except Unreachable as error:
                    trouble = str(error)
                is_over = deadline is not None and time.time() >= deadline
                if progress and _may_go_on(progress, enough, at_once=deadline is None or is_over):
                    if progress.asked:
                        tell("closed", progress)
                    return
                if progress:
                    tell("opened", progress)
                    if 2 * progress.answered >= progress.asked:
                        tell("half-way", progress)
                text = trouble or _line(project, progress)
                live.update(_display(project, progress, trouble), refresh=console.is_terminal)
                if text != shown and not console.is_terminal:
                    console.print(text, soft_wrap=True, markup=False, highlight=False)
                shown = text
                if is_over:
                    wanted = f" ({enough} are wanted)" if enough < len(asked) else ""
                    raise AnnotationError(f"{_line(project, progress)}{wanted}, then run `dvc repro` again")
                # A busy server is asked less often: it has better things to do than to count.
                pause_s = max(poll_s, min(4 * (time.monotonic() - asked_at), 30.0))
                time.sleep(pause_s if deadline is None else min(pause_s, max(deadline - time.time(), 0)))
        except KeyboardInterrupt:
            console.print("interrupted: no answer is lost; run `dvc repro` to go on", highlight=False)
            raise


def _may_go_on(progress: Progress, enough: int, at_once: bool) -> bool:
    """Whether everything is answered, or enough of it and nothing more is waited for."""
    if progress.answered >= progress.asked:
        return True
    if not at_once or progress.answered < enough:
        return False
    console.print(f"{progress.answered} of {progress.asked} queries are answered, which is enough", highlight=False)
    return True


def _line(project: Project, progress: Progress | None) -> str:
    if progress is None:  # the server has not been reached yet
        return f"not answered; open {project.url}"
    experts = ", ".join(f"{expert}: {standing.answered}" for expert, standing in progress.per_expert.items())
    who = f" ({experts})" if experts else ""
    skipped = f", {progress.skipped} skipped" if progress.skipped else ""
    return f"{progress.answered}/{progress.asked} answered{skipped}{who}; open {project.url}"


def _display(project: Project, progress: Progress | None, trouble: str) -> Group:
    title = project.title
    table = Table("expert", title_justify="left")
    for heading in ("answered", "skipped", "median", "last seen"):
        table.add_column(heading, justify="right")
    if progress:
        title += f": {progress.answered} of {progress.asked} answered, {progress.skipped} skipped"
        for expert, standing in progress.per_expert.items():
            median = "" if standing.median_s is None else f"{standing.median_s:.0f} s"
            table.add_row(expert, str(standing.answered), str(standing.skipped), median, _last_seen(progress, expert))
    # The link gets a line of its own: broken over two, it could not be clicked.
    return Group(Text(title), table, Text(f"to answer, open {project.url}"), Text(trouble, style="yellow"))


def _last_seen(progress: Progress, expert: str) -> str:
    seen = progress.per_expert[expert].seen
    if seen is None:
        return ""
    return "now" if progress.is_here(expert) else f"{(progress.now - seen) // timedelta(minutes=1)} min ago"
