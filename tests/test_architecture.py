"""The layout that docs/architecture.md promises: who imports whom, and DVC knows all of it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes.checkout import ROOT

# It shows results and changes no stage's outputs: no stage lists it, or what it alone imports.
SHOWING = "pipeline/tracking/"
TOP = {"__init__.py", "__main__.py", "choices.py", "errors.py", "paths.py"}
MODULES = [
    *(ROOT / "pipeline").rglob("*.py"),
    *(ROOT / "labelstudio").rglob("*.py"),
    *(ROOT / "benchmarks").rglob("*.py"),
]
LONGEST = 300  # lines


def names_imported(path: Path) -> set[str]:
    """Every dotted name that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def local_imports(path: Path) -> set[Path]:
    """The project's files that one file imports; a package that holds nothing but its docstring is left out."""
    found = set()
    for name in names_imported(path):
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
def test_a_stage_lists_what_it_imports_and_nothing_else(name):
    script = Path("pipeline/stages") / f"{name.replace('-', '_')}.py"
    assert f"python -m pipeline stage {name} " in f"{stages()[name]['cmd']} "
    listed = [Path(dep) for dep in stages()[name]["deps"] if dep.startswith(("pipeline/", "labelstudio"))]
    imported = closure(script)
    unlisted = {str(path) for path in imported if not any(path.is_relative_to(dep) for dep in listed)}
    assert not unlisted, f"{name} imports files that none of its deps covers"
    unused = {str(dep) for dep in listed if not any(path.is_relative_to(dep) for path in imported)}
    assert not unused, f"{name} lists deps that it does not import"


def test_an_edited_loader_does_not_decode_all_images_again():
    deps = stages()["prepare"]["deps"]
    assert "pipeline/data/prepared.py" in deps
    assert "pipeline/data" not in deps


def test_bytecode_is_no_dep(tmp_path):
    assert "__pycache__" in (ROOT / ".dvcignore").read_text().split()


def test_only_what_everything_needs_lies_at_the_top():
    assert {path.name for path in (ROOT / "pipeline").glob("*.py")} == TOP


def test_nothing_imports_from_stages_but_the_command_line():
    for path in MODULES:
        if path.parts[-2] != "stages":
            assert not any(name.startswith("pipeline.stages") for name in names_imported(path)), path


def test_the_library_does_not_import_what_stands_above_it():
    floors = {"commands": ("benchmarks",), "stages": ("pipeline.commands", "pipeline.experiments", "benchmarks")}
    floors["experiments"] = ("pipeline.commands", "benchmarks")
    above = ("pipeline.experiments", "pipeline.commands", "pipeline.stages", "benchmarks")
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.name != "__main__.py":
            not_these = floors.get(path.parts[-2], above)
            assert not any(name.startswith(not_these) for name in names_imported(path)), path


def test_the_annotation_backend_knows_nothing_of_the_pipeline():
    for path in (ROOT / "labelstudio").rglob("*.py"):
        assert not {name.split(".")[0] for name in names_imported(path)} & {"pipeline", "torch", "mlflow", "dvc"}, path


def test_the_words_of_params_are_torch_free():
    for name in ("choices", "errors", "paths", "config/params", "config/scenarios"):
        assert not {n.split(".")[0] for n in names_imported(ROOT / "pipeline" / f"{name}.py")} & {"torch", "numpy"}


@pytest.mark.parametrize(
    ("package", "folder"),
    [("mlflow", "pipeline/tracking"), ("label_studio_sdk", "labelstudio"), ("captum", "pipeline/query")],
)
def test_one_folder_speaks_to_each_service(package, folder):
    importing = [path for path in MODULES if package in {name.split(".")[0] for name in names_imported(path)}]
    assert importing, f"nothing imports {package} any more"
    outside = [
        p for p in importing if not p.is_relative_to(ROOT / folder) and not p.is_relative_to(ROOT / "benchmarks")
    ]
    assert not outside


def test_no_module_is_too_long():
    assert {str(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > LONGEST} == {}


def test_stages_are_short():
    for path in (ROOT / "pipeline" / "stages").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path


def test_reading_answers_otherwise_asks_nobody_again():
    asking, reading = (stages()[name]["params"] for name in ("annotate", "hitl-train"))
    assert asking == ["annotate"]
    assert "consensus" in reading
    assert "annotate" not in reading


def test_a_changed_drawing_trains_nothing_again():
    drawing = Path("pipeline/evaluation/figures.py")
    after = [
        name
        for name, stage in stages().items()
        if any(drawing.is_relative_to(d) for d in stage["deps"] if "$" not in d)
    ]
    assert after == ["review", "evaluate", "compare"]


def test_annotating_starts_without_torch():
    code = "import sys, pipeline.stages.annotate; print({'torch', 'mlflow', 'dvc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"
