"""report/index.html: one file that stands alone, shows its tables and sentences, and runs no script."""

import json
from pathlib import Path

import pytest

from labelstudio.reading import outlines
from pipeline.config import load
from pipeline.errors import DamagedFileError
from pipeline.paths import step_dir
from pipeline.report import page, provenance
from pipeline.report.table import Table


def test_the_page_stands_alone_and_runs_nothing(monkeypatch):
    evil = "<script>alert(1)</script>"
    empty = Table("Empty", ["Round"], [], "")

    def section(config, name, sentences):
        names = ("agreement", "corrections", "reasons", "outlines", "contradictions", "decisions", "effect", "cost")
        tables = dict.fromkeys(names, empty)
        return page.Section(evil, sentences, "", "", [], **tables, screening={evil: [evil, evil]}, data={"digits": "0"})

    monkeypatch.setattr(page, "_section", section)
    table = Table("Every arm", ["Arm", "Accuracy"], [["hitl", "98.0 [95.7, 99.1], no difference shown"]], evil)
    config = load()
    words = {name: [f"{evil} gains", "hitl against automated: +1"] for name in config.hitl.scenarios}
    html = page.html(config, words=words, tables=[table])
    assert html == page.html(config, words=words, tables=[table])
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; gains" in html
    assert "<td>98.0<span>[95.7, 99.1]</span><em>no difference shown</em></td>" in html
    assert '<tr class="hitl">' in html
    assert "decoy-digits" in html.split("<pre>")[1]
    assert provenance.commit() in html
    assert "http" not in html


def test_answers_that_contradict_themselves_are_listed_without_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"ann@example.org": {}, "ben@example.org": {}}
    both = {"expert": "ben@example.org", "image_id": "image-3", "what": "region p is marked both ways"}
    for n, crowd in (("00", {"experts": known}), ("01", {"experts": known, "contradictions": [both]})):
        folder = step_dir("digits", n)
        folder.mkdir(parents=True)
        (folder / "crowd.json").write_text(json.dumps(crowd))
    table = page._contradictions("digits", ["00", "01"])
    assert table.rows == [["01", "2", "image-3", "region p is marked both ways"]]


def test_marks_and_gestures_of_each_round_are_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = {"answers": 2, "confirmed": 3, "rejected": 1, "added": 1, "precision": 0.75}
    found = counts | {"clicks": 1.0, "keys": 1.5, "seconds": None}
    for n, crowd in (("00", {"experts": {}}), ("01", {"experts": {}, "corrections": found})):
        folder = step_dir("digits", n)
        folder.mkdir(parents=True)
        (folder / "crowd.json").write_text(json.dumps(crowd))
    assert page._corrections("digits", ["00", "01"]).rows == [["01", "3", "1", "1", "0.75", "1.00", "1.50", ""]]


def test_marks_are_counted_by_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {
        "ruler": {"marks": 3, "images": 2, "before": 0.5, "after": 0.25},
        "no reason": {"marks": 1, "images": 1, "before": None, "after": None},
    }
    for n, crowd in (("00", {"experts": {}}), ("01", {"experts": {}, "reasons": found})):
        folder = step_dir("digits", n)
        folder.mkdir(parents=True)
        (folder / "crowd.json").write_text(json.dumps(crowd))
    assert page._reasons("digits", ["00", "01"]).rows == [
        ["01", "ruler", "3", "2", "50%", "25%"],
        ["01", "no reason", "1", "1", "", ""],
    ]


def test_decided_disputes_are_listed_without_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {"ann@example.org": "marked", "ben@example.org": "nothing to disregard"}
    decision = {"image_id": "image-3", "said": said, "by": "head@example.org", "decision": "marked"}
    folder = step_dir("digits", "00")
    folder.mkdir(parents=True)
    (folder / "crowd.json").write_text(json.dumps({"experts": said, "decisions": [decision]}))
    table = page._decisions("digits", ["00"])
    assert table.rows == [["00", "image-3", "1: marked; 2: nothing to disregard", "marked"]]


def test_the_agreement_with_and_without_outlines_is_shown_by_round_and_over_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n, blind in (("00", 0.5), ("01", 0.25)):
        own = outlines.compared(outlines.Share(0.75, 20), outlines.Share(blind, 2))
        folder = step_dir("digits", n)
        folder.mkdir(parents=True)
        (folder / "crowd.json").write_text(json.dumps({"experts": {"ann@example.org": {"outlines": own}}}))
    rows = page._outlines("digits", ["00", "01"]).rows
    assert [row[:2] for row in rows] == [["00", "1"], ["01", "1"], ["all", "all"]]
    assert [cell.partition("[")[0] for cell in rows[2][2:]] == ["75% ", "38% ", "38% "]
    assert [cell.partition("]")[2] for cell in rows[2][2:]] == [" (40)", " (4)", ""]
    assert "ann" not in str(rows)


def test_a_missing_file_names_itself_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (lambda: page._png(Path("curves.png")), lambda: page._crowd(Path("crowd.json")), origin):
        with pytest.raises(DamagedFileError, match=r"cannot read .*Fix: run `dvc repro`"):
            read()


def origin():
    return provenance.data("digits")
