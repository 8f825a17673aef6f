"""compare: all scenarios side by side, as tables, as a page and in MLflow; experts see the effects of their marks."""

from __future__ import annotations

from pipeline.annotation.projects import show_all_effects
from pipeline.config import load
from pipeline.paths import PAGE, REPORT
from pipeline.report import annotated, card, comparison, meaning, page, table, tables
from pipeline.tracking import publishing


def main() -> None:
    """Write the comparison, model cards and annotated sets under report/; update MLflow and Label Studio."""
    config = load()
    results = comparison.gather(config)
    words = {name: meaning.sentences(name, results[name]) for name in config.hitl.scenarios}
    shown = tables.tables(results)
    parts = [*(meaning.markdown(sentences) for sentences in words.values()), *map(table.markdown, shown)]

    comparison.write(results, parts)
    PAGE.write_text(page.html(config, words=words, tables=shown), encoding="utf-8")
    numbers = {name: annotated.write(config, name) for name in config.hitl.scenarios}
    for name, result in results.items():
        card.write(config, name, result, numbers.get(name))
    publishing.publish_all(config, note=parts)
    print(f"the comparison is in {REPORT / 'table.md'} and {PAGE}")
    show_all_effects(config)
