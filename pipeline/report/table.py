"""A table for people, on pages and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table for people; all cells are text.

    Attributes:
        title: The line above the table.
        heads: The heads of the columns.
        rows: The cells of each row.
        note: The lines below the table.
        names: The number of columns at the left that hold names; the columns after them hold numbers.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    note: str = ""
    names: int = 2


def markdown(table: Table) -> str:
    """Return the table as Markdown, with an empty line after it."""
    rule = ["---"] * table.names + ["---:"] * (len(table.heads) - table.names)
    rows = [f"| {' | '.join(row)} |" for row in (table.heads, rule, *table.rows)]
    parts = [f"**{table.title}**", "\n".join(rows), *([table.note] if table.note else [])]
    return "\n\n".join(parts) + "\n\n"
