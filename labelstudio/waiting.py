"""Waiting for people, humanely: what is asked, what is answered, by whom, and where to go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labelstudio.client import LabelStudio, Progress
from labelstudio.projects import Project
from labelstudio.records import AnnotationError, Answer
from labelstudio.transport import Unreachable

console = Console(stderr=True)


def wait(
    client: LabelStudio,
    project: Project,
    keys: Iterable[str],
    *,
    limit_s: float | None,
    poll_s: float = 2.0,
    experts: int = 1,
    known: Sequence[Answer] = (),
) -> None:
    """Return when every one of these queries has answers of so many different experts (see ``progress``).

    Waits as long as it takes, or raises AnnotationError after ``limit_s`` seconds. A server
    that cannot be reached for a while is waited for, too. Nothing is lost by interrupting:
    what was answered lies on the server.
    """
    asked = list(keys)
    deadline = None if limit_s is None else time.monotonic() + limit_s
    progress: Progress | None = None
    shown = ""
    # Without a terminal, a line when something changes takes the place of the live display.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while True:
                trouble = ""
                asked_at = time.monotonic()
                try:
                    progress = client.progress(project, asked, experts, known)
                except Unreachable as error:
                    trouble = str(error)
                if progress and progress.answered >= progress.asked:
                    return
                text = trouble or _line(project, progress)
                live.update(_display(project, progress, trouble), refresh=console.is_terminal)
                if text != shown and not console.is_terminal:
                    console.print(text, soft_wrap=True, markup=False, highlight=False)
                shown = text
                if deadline is not None and time.monotonic() >= deadline:
                    raise AnnotationError(f"{_line(project, progress)}, then run `dvc repro` again")
                # A busy server is asked less often: it has better things to do than to count.
                pause_s = max(poll_s, min(4 * (time.monotonic() - asked_at), 30.0))
                time.sleep(pause_s if deadline is None else min(pause_s, max(deadline - time.monotonic(), 0)))
        except KeyboardInterrupt:
            console.print("interrupted: no answer is lost; run `dvc repro` to go on", highlight=False)
            raise


def _line(project: Project, progress: Progress | None) -> str:
    if progress is None:  # the server has not been reached yet
        return f"not answered; open {project.url}"
    experts = ", ".join(f"{expert}: {count}" for expert, count in progress.per_expert.items())
    who = f" ({experts})" if experts else ""
    return f"{progress.answered}/{progress.asked} answered{who}; open {project.url}"


def _display(project: Project, progress: Progress | None, trouble: str) -> Group:
    table = Table(title=project.title, title_justify="left", show_header=False)
    if progress:
        table.add_row("answered", f"{progress.answered} of {progress.asked}")
        for expert, count in progress.per_expert.items():
            table.add_row(expert, str(count))
    # The link gets a line of its own: broken over two, it could not be clicked.
    return Group(table, Text(f"to answer, open {project.url}"), Text(trouble, style="yellow"))
