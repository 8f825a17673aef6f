"""The site builds without a warning, loads nothing from elsewhere, and describes every module and stage."""

import re
import subprocess
import sys

import pytest
import yaml
from docs.english import ROOT

REFERENCE = ("query", "feedback", "training", "arms")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_and_needs_no_other_server(site):
    pages = list(site.rglob("*.html"))
    assert (site / "index.html") in pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\"\s>]+)", text)
        loaded += re.findall(
            r"<link[^>]*rel=\"?(?:stylesheet|preconnect|preload)\"?[^>]*href=\"?(https?:[^\"\s>]+)", text
        )
        assert loaded == [], page


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages = {page for page in pages if not page.startswith("results/tables/")}
    assert {page for page in pages if f": {page}\n" not in text} == set()


@pytest.mark.parametrize("folder", REFERENCE)
def test_the_reference_has_every_module(folder):
    page = (ROOT / f"docs/reference/{folder}.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "pipeline" / folder).glob("*.py")} - {"__init__"}
    assert set(re.findall(rf"^::: pipeline\.{folder}\.(\w+)$", page, flags=re.MULTILINE)) == modules


def test_the_architecture_page_has_every_folder_and_every_output_of_every_stage():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = {row[1]: row[2] for row in re.finditer(r"^\| `([\w-]+)` \|(.*)$", page, flags=re.MULTILINE)}
    folders = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert folders <= rows.keys()
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages.keys() <= rows.keys()
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        outputs = [*stage.get("outs", []), *stage.get("metrics", [])]
        for output in (out if isinstance(out, str) else next(iter(out)) for out in outputs):
            *folders, last = output.split("/")
            shown = folders[-1] if "$" in last else last
            assert shown in rows[name] or "${item.arm}" in output, (name, output)


@pytest.mark.parametrize(
    ("schema", "path"),
    [("vendor.citation-file-format", "CITATION.cff"), ("vendor.github-workflows", ".github/workflows/ci.yml")],
)
def test_files_for_the_forge_are_valid(schema, path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_calls_targets_of_make():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert runs
    for run in runs:
        program, target, *_ = run.split()
        assert program == "make"
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
