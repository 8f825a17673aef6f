"""Wait for experts, and show what is asked, what is answered, by whom, and where to answer."""

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

LONGEST_POLL_S = 30.0

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
    keep: Callable[[Sequence[Answer]], object] = lambda answers: None,
    account: int | None = None,
) -> None:
    """Return when these queries are answered.

    The wait survives a server that is unreachable for a while. It can be interrupted: no answer is lost.

    Args:
        client: A client of the account that owns the project.
        project: The project that has the tasks.
        keys: The queries.
        limit_s: The longest wait in seconds; None for no limit.
        enough: The number of answered queries that ends the wait at its limit; None for all (see ``patience``).
        tell: Called with "opened", "half-way" or "closed" and the progress, each perhaps several times.
        poll_s: The shortest time between two requests for the progress, in seconds.
        experts: The number of different experts who must answer a query.
        known: Answers that count although this server may have lost them.
        keep: Called with the server's answers when the wait ends, however it ends.
        account: The number of the only account whose new answers count; None for all accounts.

    Raises:
        AnnotationError: if too few queries are answered at the limit.
    """
    asked = list(keys)
    enough = len(asked) if enough is None else enough
    # By the wall clock: a machine that sleeps until the deadline does not stop that clock.
    deadline = None if limit_s is None else time.time() + limit_s
    progress: Progress | None = None
    first_id: int | None = None
    shown = ""
    # Without a terminal, a line after each change takes the place of the live display.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while True:
                trouble = ""
                begin = time.monotonic()
                try:
                    first_id = client.first_task_id(project, asked) if first_id is None else first_id
                    progress = client.progress(
                        project, asked, experts=experts, known=known, first_id=first_id, account=account
                    )
                except Unreachable as error:
                    trouble = str(error)
                is_over = deadline is not None and time.time() >= deadline
                if progress and _is_complete(progress, enough, at_once=deadline is None or is_over):
                    if progress.asked:
                        tell("closed", progress)
                    return
                if progress:
                    tell("opened", progress)
                    if 2 * progress.answered >= progress.asked:
                        tell("half-way", progress)
                text = trouble or f"{_state(progress)}; open {project.url}"
                live.update(_display(project, progress, trouble), refresh=console.is_terminal)
                if text != shown and not console.is_terminal:
                    console.print(text, soft_wrap=True, markup=False, highlight=False)
                shown = text
                if is_over:
                    wanted = f" ({enough} are enough)" if enough < len(asked) else ""
                    raise AnnotationError(
                        f"{_state(progress)}{wanted}. Fix: open {project.url}, answer, then run `dvc repro` again."
                    )
                # A busy server gets fewer requests: counting takes time that its experts need.
                pause_s = max(poll_s, min(4 * (time.monotonic() - begin), LONGEST_POLL_S))
                time.sleep(pause_s if deadline is None else min(pause_s, max(deadline - time.time(), 0)))
        except KeyboardInterrupt:
            console.print("interrupted: no answer is lost. Run `dvc repro` to continue.", highlight=False)
            raise
        finally:
            if progress:
                keep(progress.answers)


def _is_complete(progress: Progress, enough: int, *, at_once: bool) -> bool:
    """Return True if all queries are answered, or enough of them when the wait must end ``at_once``."""
    if progress.answered >= progress.asked:
        return True
    if not at_once or progress.answered < enough:
        return False
    console.print(f"{progress.answered} of {progress.asked} queries are answered, which is enough", highlight=False)
    return True


def _state(progress: Progress | None) -> str:
    if progress is None:  # the server has not been reached yet
        return "the number of answers is unknown"
    experts = ", ".join(f"{expert}: {standing.answered}" for expert, standing in progress.per_expert.items())
    by_expert = f" ({experts})" if experts else ""
    skipped = f", {progress.skipped} skipped" if progress.skipped else ""
    return f"{progress.answered}/{progress.asked} answered{skipped}{by_expert}"


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
    # The link has a line of its own: a terminal cannot open a link that is broken over two lines.
    return Group(Text(title), table, Text(f"to answer, open {project.url}"), Text(trouble, style="yellow"))


def _last_seen(progress: Progress, expert: str) -> str:
    seen = progress.per_expert[expert].seen
    if seen is None:
        return ""
    return "now" if progress.is_here(expert) else f"{(progress.now - seen) // timedelta(minutes=1)} min ago"
