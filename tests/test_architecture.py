"""The layout that the design promises: who imports whom, and DVC knows all of it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes.checkout import ROOT

# Shows what is there and changes no stage's outputs: no stage depends on it, or on what it alone imports.
SHOWING = "pipeline/tracking/"


def local_imports(path: Path) -> set[Path]:
    """The project's files that one file imports, anywhere in it (an empty package file says nothing)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in ("pipeline", "labelstudio"):
                for candidate in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
                    if (ROOT / candidate).is_file() and ast.parse((ROOT / candidate).read_text()).body[1:]:
                        found.add(Path(candidate))
    return found


def closure(start: Path) -> set[Path]:
    seen, todo = set(), {start}
    while todo:
        path = todo.pop()
        seen.add(path)
        todo |= {found for found in local_imports(ROOT / path) if not str(found).startswith(SHOWING)} - seen
    return seen


def stages():
    document = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    return {name: stage.get("do", stage) for name, stage in document["stages"].items()}


@pytest.mark.parametrize("name", stages())
def test_a_stage_lists_every_module_that_it_imports(name):
    script = Path("pipeline/stages") / f"{name.replace('-', '_')}.py"
    assert f"python -m pipeline.stages {name} " in f"{stages()[name]['cmd']} "
    listed = {dep for dep in stages()[name]["deps"] if dep.endswith(".py")}
    assert listed == {str(path) for path in closure(script)}


def test_the_annotation_backend_knows_nothing_of_the_pipeline():
    for path in (ROOT / "labelstudio").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"pipeline", "torch", "mlflow", "dvc"}, path


@pytest.mark.parametrize(
    ("package", "only"),
    [
        ("mlflow", {f"pipeline/tracking/{name}.py" for name in ("__init__", "arms", "models", "served", "view")}),
        ("label_studio_sdk", {"labelstudio/exchange/regions.py", "labelstudio/client/connection.py"}),
    ],
)
def test_few_modules_speak_to_each_service(package, only):
    importing = {
        str(path.relative_to(ROOT))
        for folder in ("pipeline", "labelstudio")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            package in {(getattr(node, "module", None) or alias.name).split(".")[0] for alias in node.names}
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        )
    }
    assert importing == only


def test_reading_answers_otherwise_asks_nobody_again():
    asking, reading = (stages()[name]["params"] for name in ("annotate", "hitl-train"))
    assert asking == ["annotate"]
    assert "consensus" in reading
    assert "annotate" not in reading


def test_annotating_starts_without_torch():
    code = "import sys, pipeline.stages.annotate; print({'torch', 'mlflow', 'dvc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"


def test_the_library_imports_no_stage():
    for path in [*(ROOT / "pipeline").glob("*.py"), *(ROOT / "pipeline" / "datasets").glob("*.py")]:
        imported = {str(found) for found in local_imports(path)}
        if path.name != "demo.py":
            assert not {found for found in imported if found.startswith("pipeline/stages")}, path
