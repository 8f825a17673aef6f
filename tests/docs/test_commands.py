"""Every command in the pages fits the real command line, or a mark above it names a test, or why it is untried.

CONTRIBUTING.md describes the marks. A block of commands is a fence `console`, or an indented block that starts with a
command. Inline code that starts with `lookaway`, `make` or `python -m` is checked as well.
"""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
import dvc.cli
import pytest
import typer
from docs.english import MARKDOWN, ROOT, files
from typer.exceptions import TyperException
from typer.testing import CliRunner

from pipeline.__main__ import app

COMMANDS = ("lookaway", "make", "python", "dvc", "mlflow")
OTHERS = ("cd", "cp", "docker", "export", "git", "kubectl", "pip", "pre-commit", "sbatch", "set", "ssh", "curl", "echo")
CONSOLE = ("console", "sh", "bash", "shell")
PLACEHOLDER = re.compile(r"[…|\[\]<>]")
UNTRIED = re.compile(r"\buntried: \S", flags=re.IGNORECASE)
TESTED = re.compile(r"<!-- tested: (\S+) -->")


WRONG = (
    AssertionError,
    ValueError,
    TyperException,
    click.ClickException,
    dvc.cli.DvcParserError,
    subprocess.CalledProcessError,
    OSError,
)


@dataclass(frozen=True)
class Block:
    """One block of commands: its place, its lines, and the text of the block above."""

    path: Path
    line: int
    text: str
    above: str

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path, text):
    found, above = [], ""
    lines = text.splitlines()
    for token in MARKDOWN.parse(text):
        if token.type in ("fence", "code_block") and token.map:
            words = token.content.split()
            is_console = token.type == "fence" and token.info.strip() in CONSOLE
            is_indented = token.type == "code_block" and words and words[0] in (*COMMANDS, *OTHERS)
            if is_console or is_indented:
                found.append(Block(path, token.map[0] + 1, token.content, above))
        if token.map and token.block and token.type != "list_item_open":
            above = "\n".join(lines[slice(*token.map)])
    return found


def commands(text):
    """The commands of a block as lists of words, without their environment, redirection and comments."""
    for line in re.sub(r"(\\|\||&&)\n\s*", r"\1 ", text).replace("\\ ", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, ";"]:
            if word in ("|", "||", "&&", "&", ";"):
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def check(words):
    """Raise an error if these words are no command of this project, or have wrong arguments."""
    program, *arguments = words
    if program == "lookaway" or words[:3] == ["python", "-m", "pipeline"]:
        parse(typer.main.get_command(app), arguments if program == "lookaway" else arguments[2:])
    elif words[:3] == ["python", "-m", "pytest"]:
        paths = [word.partition("::")[0] for word in arguments[2:] if not word.startswith("-")]
        assert all((ROOT / path).exists() for path in paths), words
    elif program == "python" and arguments[0] == "-m":
        path = ROOT / arguments[1].replace(".", "/")
        assert (path / "__main__.py").is_file() or "__main__" in path.with_suffix(".py").read_text(), words
    elif program == "python" and arguments[0].endswith(".py"):
        assert (ROOT / arguments[0]).is_file(), words
    elif program == "make":
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    elif program == "dvc":
        dvc.cli.parse_args(arguments)
    elif program == "mlflow":
        from mlflow.cli import cli

        parse(cli, arguments)
    else:
        raise ValueError(f"no test runs `{shlex.join(words)}`. Fix: mark the block, as CONTRIBUTING.md says")


def parse(command, arguments):
    """Parse the arguments as the program does, and run nothing."""
    arguments = [argument for argument in arguments if argument != "--help"]
    while hasattr(command, "commands") and arguments:
        name = arguments.pop(0)
        command = command.get_command(None, name)
        assert command, name
    if not hasattr(command, "commands"):
        command.make_context(command.name, arguments)


BLOCKS = [block for path in files() for block in blocks(path, path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_commands_is_checked_or_marked(block):
    if UNTRIED.search(block.above):
        return
    if mark := TESTED.search(block.above):
        assert (ROOT / mark[1]).is_file()
        return
    for words in commands(block.text):
        check(words)


def inline_commands(text):
    """Inline code that is a command without placeholders."""
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"(lookaway|make|python -m) \S", code) and not PLACEHOLDER.search(code):
            yield code


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_in_the_text_fit_the_command_line(path):
    for code in inline_commands(path.read_text(encoding="utf-8")):
        for words in commands(code):
            check(words)


@pytest.mark.parametrize(
    "text",
    [
        "```console\nlookaway experimentz\n```",
        "```console\nlookaway experiments --seedz 5\n```",
        "```console\nmake no-such-target\n```",
        "```console\ndvc reproduce\n```",
        "```console\ndocker compose up\n```",
        "Text.\n\n    make no-such-target\n",
        "<!-- tested: tests/no_such_test.py -->\n```console\ndocker compose up\n```",
    ],
)
def test_a_wrong_command_is_found(text):
    (block,) = blocks(ROOT / "page.md", text)
    with pytest.raises(WRONG):
        test_a_block_of_commands_is_checked_or_marked(block)


@pytest.mark.parametrize(
    "text",
    [
        "*Untried: needs Docker.*\n\n```console\ndocker compose up\n```",
        "<!-- tested: tests/docs/test_commands.py -->\n```console\ndocker compose up\n```",
        "```console\nANNOTATE_QUORUM=18 dvc repro   # a comment\n```",
        "```console\nlookaway experiments decoy-digits --seeds 5 && dvc status\n```",
    ],
)
def test_a_right_or_marked_command_is_accepted(text):
    (block,) = blocks(ROOT / "page.md", text)
    test_a_block_of_commands_is_checked_or_marked(block)


def walk(command, path=()):
    """Every command below a command, with the words that call it."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


@pytest.mark.parametrize("path", list(walk(typer.main.get_command(app))), ids=" ".join)
def test_every_command_explains_itself(path):
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    usage, _, explained = shown.output.partition("\n\n")
    assert "Usage:" in usage
    assert re.match(r"\s+[A-Z][^\n]+(\n[^\n]+)*\.\n", explained)
