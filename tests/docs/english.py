"""Check three rules of the house style in Markdown files: sentence length (1), wording (2 to 4), line length (10).

CONTRIBUTING.md lists the rules. `python tests/docs/english.py FILE…` prints each violation as `file:line: rule`.
Without files, it reads README.md, CONTRIBUTING.md, CHANGELOG.md and docs/. Generated tables are exempt.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
WORDS, WRAP, LONGEST = 25, 100, 120
GENERATED = "docs/results/tables/"

BANNED = {
    2: [
        r"what (it|they|he|she|this|that) (came|comes|come|had|has) to",
        "whoever",
        "whatever",
        "that which",
        "those (that|who|which|whose|with|without)",
        "of what",
        "from what",
        "than what",
    ],
    3: ["such a one", "such ones", "that of", "those of", r"the one\b[^.]*\bthe other"],
    4: [
        "(comes|came|coming) to",
        "(goes|go|went|going|gone) on(?! (a|the)? ?(page|server|machine|disk))",
        "(is|are|was|were|be|been|being) told",
        r"(bring|brings|brought)(\s\S+){0,3} home",
        "asked about",
    ],
}
ABBREVIATIONS = ("e.g.", "i.e.", "et al.", "Eq.", "Eqs.", "Fig.", "Sec.", "cf.", "vs.", "etc.", "approx.", "No.", "St.")
INTERVAL = re.compile(r"\[[-−+]?\d[-−+\d.,% ]*\]")  # belongs to its number, and is no word of its own
URL = re.compile(r"(?<=\]\()[^)\s]+|(?<=\]: )\S+|https?://\S+")
SENTENCE_END = re.compile(r"[.!?][\"'”’)*]*\s+(?=[\"'“‘(*]*[A-Z0-9\u0391-\u03a9\N{OBJECT REPLACEMENT CHARACTER}])")
CODE = "\N{OBJECT REPLACEMENT CHARACTER}"  # an inline code span: one word
MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Violation:
    """One line that breaks one rule."""

    path: str
    line: int
    rule: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: rule {self.rule}: {self.message}"


@dataclass(frozen=True)
class Prose:
    """A paragraph, list item, heading or table cell as plain text; `lines` has the line number of each character."""

    kind: str  # paragraph | heading | cell | quote
    text: str
    lines: list[int]


def check(text: str, path: str) -> list[Violation]:
    """Return all violations in the Markdown `text`, in the order of their lines."""
    text = re.sub(r"\A---\n.*?\n---\n", lambda found: "\n" * found.group().count("\n"), text, flags=re.DOTALL)
    tokens = MARKDOWN.parse(text)
    found = [*_line_lengths(text, tokens, path)]
    for prose in _prose(tokens):
        if prose.text.startswith((":::", "--8<--")):  # directives of the site
            continue
        found += _banned(prose, path)
        if prose.kind in ("paragraph", "heading"):
            found += _long_sentences(prose, path)
    return sorted(found, key=lambda violation: violation.line)


def files() -> list[Path]:
    """Return all Markdown files that follow the house style."""
    named = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [path for path in (*named, *pages) if not path.relative_to(ROOT).as_posix().startswith(GENERATED)]


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield each sentence of `text` with the place of its first character."""
    start = 0
    for end in SENTENCE_END.finditer(text):
        head = text[start : end.end()].rstrip()
        if head.endswith(ABBREVIATIONS) or re.search(r"(^|\s)[A-Z]\.$", head):
            continue
        yield start, head
        start = end.end()
    if text[start:].strip():
        yield start, text[start:].strip()


def _long_sentences(prose: Prose, path: str) -> Iterator[Violation]:
    for start, sentence in sentences(prose.text):
        words = [word for word in INTERVAL.sub("", sentence).split() if re.search(rf"[\w{CODE}]", word)]
        if len(words) > WORDS:
            shown = " ".join(words[:6]).replace(CODE, "`…`")
            yield Violation(path, prose.lines[start], 1, f'{len(words)} words, at most {WORDS}: "{shown} …"')
        if prose.kind == "paragraph" and re.match(r"(What|Whether)\b", sentence) and not sentence.endswith("?"):
            yield Violation(path, prose.lines[start], 2, f'a clause as the subject: "{" ".join(words[:6])} …"')


def _banned(prose: Prose, path: str) -> Iterator[Violation]:
    for rule, phrases in BANNED.items():
        for phrase in phrases:
            for found in re.finditer(rf"\b{phrase}\b", prose.text, flags=re.IGNORECASE):
                yield Violation(path, prose.lines[found.start()], rule, f'"{found.group()}"')


def _line_lengths(text: str, tokens: list[Token], path: str) -> Iterator[Violation]:
    exempt: set[int] = set()
    for token in tokens:
        if token.map and token.type in ("fence", "code_block", "table_open"):
            exempt.update(range(*token.map))
    loose = {n for token in tokens if token.map and token.type == "html_block" for n in range(*token.map)}
    for n, line in enumerate(text.splitlines()):
        limit = LONGEST if n in loose or line.lstrip().startswith(("--8<--", ":::")) else WRAP
        length = len(URL.sub("", line))
        if n not in exempt and length > limit:
            yield Violation(path, n + 1, 10, f"{length} characters, at most {limit}")


def _prose(tokens: list[Token]) -> Iterator[Prose]:
    inside: list[str] = []
    for token in tokens:
        if token.type.endswith("_open"):
            inside.append(token.tag)
        elif token.type.endswith("_close"):
            inside.pop()
        elif token.type == "inline" and token.map:
            if "table" in inside:
                kind = "cell"
            elif "blockquote" in inside:
                kind = "quote"
            else:
                kind = "heading" if re.fullmatch("h[1-6]", inside[-1]) else "paragraph"
            text, lines = _plain(token.children or [], token.map[0] + 1)
            yield Prose(kind, text, lines)


def _plain(children: list[Token], line: int) -> tuple[str, list[int]]:
    text, lines = "", []
    for child in children:
        piece = {"text": child.content, "code_inline": CODE, "softbreak": " ", "hardbreak": " "}.get(child.type, "")
        text += piece
        lines += [line] * len(piece)
        line += child.type in ("softbreak", "hardbreak")
    return text, lines


def main(arguments: list[str]) -> int:
    """Print the violations in the files named, or in all files; return 1 if there are any."""
    paths = [Path(argument) for argument in arguments] or files()
    found = [violation for path in paths for violation in check(path.read_text(encoding="utf-8"), str(path))]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
