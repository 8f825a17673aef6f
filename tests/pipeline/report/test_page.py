"""report/index.html: one file that shows what it is given, and nothing that it is not."""

from pipeline.config import load
from pipeline.report import page, provenance
from pipeline.report.tables import Table


def test_the_page_stands_alone_and_runs_nothing(monkeypatch):
    evil = "<script>alert(1)</script>"
    empty = Table("Empty", ["Round"], [], "")
    monkeypatch.setattr(
        page, "_section", lambda config, name, words: page.Section(evil, words, "", "", [], empty, empty, empty, "0")
    )
    table = Table("Every arm", ["Arm", "Accuracy"], [["hitl", "98.0 [95.7, 99.1], no difference shown"]], evil)
    config = load()
    words = {name: [f"{evil} gains", "hitl against automated: +1"] for name in config.hitl.scenarios}
    html = page.html(config, words, [table])
    assert html == page.html(config, words, [table])
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; gains" in html
    assert "<td>98.0<span>[95.7, 99.1]</span><em>no difference shown</em></td>" in html
    assert '<tr class="hitl">' in html
    assert "decoy-digits" in html.split("<pre>")[1]
    assert provenance.commit() in html
    assert "http" not in html
