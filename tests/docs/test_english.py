import ast
import io
import tokenize

import pytest
from docs.english import ROOT, check, files, main, sentences


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_this_page_follows_the_house_style(path):
    found = check(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    assert not found, "\n".join(map(str, found))


def words_of_code(path):
    """Every docstring and comment of a module, with its first line."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text, node.body[0].lineno
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# "), token.start[0]


MODULES = [p for folder in ("benchmarks", "examples", "labelstudio", "pipeline") for p in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_and_comments_use_the_words_of_the_house(path):
    name = path.relative_to(ROOT).as_posix()
    found = [
        f"{name}:{first + violation.line - 1}: rule {violation.rule}: {violation.message}"
        for text, first in words_of_code(path)
        for violation in check(text, name)
        if violation.rule in (2, 3, 4)
    ]
    assert not found, "\n".join(found)


LONG = "The model " + "really " * 24 + "trains."


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        (f"# A page\n\nA short one.\n{LONG[:90]}\n{LONG[90:]}\n", 1, 4),
        (f"- {LONG[:90]}\n  {LONG[90:]}\n", 1, 1),
        ("One sentence.\n\n**Bold.** The list has `whoever` and\nwhoever has asked.\n", 2, 4),
        ("What the stage wrote is the loss.\n", 2, 1),
        ("| a | b |\n|---|---|\n| 1 | those that read |\n", 2, 3),
        ("> The quote is one, and that of the paper.\n", 3, 1),
        ("# Training goes on\n", 4, 1),
        ("It brings every answer home.\n", 4, 1),
        ("Images that were asked about.\n", 4, 1),
        ("It comes to 70%.\n", 4, 1),
        ("The user is told.\n", 4, 1),
        ("One line. " * 12 + "\n", 10, 1),
    ],
)
def test_each_violation_is_found_on_its_line(text, rule, line):
    found = check(text, "page.md")
    assert [(violation.rule, violation.line) for violation in found] == [(rule, line)]
    assert str(found[0]).startswith(f"page.md:{line}: rule {rule}: ")


@pytest.mark.parametrize(
    "text",
    [
        f"```console\n{LONG} It goes on.\n```\n",
        f"Text.\n\n    {LONG}\n",
        f"| a | b |\n|---|---|\n| 1 | {LONG} |\n",
        f"[A link](https://example.org/{'x' * 100}) to a page.\n",
        f"A long command is one word: `{'word ' * 30}`.\n",
        "The loss is 27.3 [24.1, 30.5]" + ", 27.3 [24.1, 30.5]" * 20 + ".\n\n",
        "---\ntitle: whoever\n---\n\n# A page\n",
        "An arm of Serrano e Silva et al. (2023), e.g. `hitl`, uses Eq. 2 of the paper.\n",
    ],
    ids=["fence", "indented", "table", "url", "code span", "interval", "front matter", "abbreviations"],
)
def test_code_tables_and_links_are_exempt(text):
    assert [violation for violation in check(text, "page.md") if violation.rule != 10] == []


def test_sentences_end_at_full_stops_and_not_at_abbreviations():
    text = 'It is one (see Eq. 2). Is it two? "It is three." `Four` is 1.5 long, e.g. here. It\'s five.'
    assert [sentence for _, sentence in sentences(text.replace("`Four`", "\N{OBJECT REPLACEMENT CHARACTER}"))] == [
        "It is one (see Eq. 2).",
        "Is it two?",
        '"It is three."',
        "\N{OBJECT REPLACEMENT CHARACTER} is 1.5 long, e.g. here.",
        "It's five.",
    ]


def test_the_command_reports_and_fails(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("Training goes on.\n")
    assert main([str(page)]) == 1
    assert capsys.readouterr().out == f'{page}:1: rule 4: "goes on"\n'
    page.write_text("Training resumes.\n")
    assert main([str(page)]) == 0
    assert capsys.readouterr().out == ""
