"""Stages in copies of a process that has imported everything: as in processes of their own, and never stale."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each stage is a process of its own")

STAGE = """
import atexit, os, signal, sys, time

def main(do: str) -> None:
    print("process", os.getpid(), "for", os.environ.get("DVC_STAGE"), "in", os.getcwd(), flush=True)
    print("an error's place", file=sys.stderr)
    if do == "read":
        print("read", sys.stdin.readline())
    if do == "fail":
        raise FileNotFoundError("no such picture")
    if do == "exit":
        sys.exit(7)
    if do == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if do == "wait":
        time.sleep(60)
    if do == "leave":
        atexit.register(print, "the last word", end="")
        print("no end of line", end=", ")
"""


@pytest.fixture
def project(tmp_path):
    """The project's modules, with stages that do little, and a process that need not import much for them."""
    for package in ("pipeline", "labelstudio"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "pipeline" / "stages").glob("[a-z]*.py"):
        path.write_text(STAGE)
    path = tmp_path / "pipeline" / "forkserver.py"
    text = path.read_text()
    for setting, ours in (("IDLE_S = 60.0", "IDLE_S = 3.0"), ("IMPORTED_LATE = (", "IMPORTED_LATE = () and (")):
        assert setting in text
        text = text.replace(setting, ours)
    path.write_text(text)
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


def hear():
    """Whatever runs the tests may ignore what a terminal sends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def environment():
    """The same in all of a test."""
    ours = ("DVC", "PYTEST_CURRENT_TEST")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"PYTHONPATH": ""}


def start(project, do, stage="prepare", **changes):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages", stage, "--do", do], cwd=project, text=True,
        env=environment() | {"DVC_STAGE": f"{stage}@digits"} | changes,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear,
    )  # fmt: skip


def ran(project, do, stage="prepare", said=None, **changes):
    """How it ended, what it said, and whether a copy ran it."""
    process = start(project, do, stage, **changes)
    out, err = process.communicate(said, timeout=60)
    return process.returncode, out, err, where(out) != process.pid


def where(out):
    return int(re.search(r"process (\d+)", out)[1])


@pytest.fixture
def serving(project):
    """The same, when a process has been started for it and waits."""
    assert not ran(project, "nothing")[-1], "the first stage has nobody to hand over to"
    assert any(ran(project, "nothing")[-1] for _ in range(20)), "it does not start"
    return project


def test_a_copy_has_the_stages_arguments_folder_environment_and_files(serving):
    code, out, err, copied = ran(serving, "read", stage="compare", said="a line\n")
    assert (code, copied) == (0, True)
    assert f"for compare@digits in {serving}" in out
    assert "read a line" in out
    assert err == "an error's place\n"


@pytest.mark.parametrize(("do", "code"), [("exit", 7), ("fail", 1), ("crash", -signal.SIGSEGV), ("misspelt", 0)])
def test_a_stage_ends_as_its_copy_ends(serving, do, code):
    ended, _, err, copied = ran(serving, do)
    assert (ended, copied) == (code, True)
    assert ("error: no such picture; nothing half-written" in err) == (do == "fail")
    assert "Traceback" not in err


def test_a_copy_that_ends_well_has_said_all_it_had_to(serving):
    code, out, _, copied = ran(serving, "leave")
    assert (code, out.splitlines()[1], copied) == (0, "no end of line, the last word", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_copy_as_it_would_end_the_stage(serving, number):
    process = start(serving, "wait")
    copy = where(process.stdout.readline())
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert ("interrupted; run `dvc repro` to go on" in err) == (number == signal.SIGINT)
    assert copy != process.pid
    assert gone(copy), "it goes on without anybody who waits for it"


def gone(process):
    for _ in range(100):
        if not Path(f"/proc/{process}").exists():
            return True
        time.sleep(0.05)
    return False


def test_whoever_changes_a_module_or_a_variable_gets_what_follows_from_it(serving):
    assert not ran(serving, "nothing", LOOKAWAY_TEST="1")[-1]
    assert ran(serving, "nothing")[-1], "the other one still waits"
    path = serving / "pipeline" / "stages" / "prepare.py"
    path.write_text(STAGE.replace("process", "changed process"))
    found = [ran(serving, "nothing")]
    while not found[-1][-1] and len(found) < 20:
        found.append(ran(serving, "nothing"))
    assert all(out.startswith("changed process") for _, out, _, _ in found)
    assert [found[0][-1], found[-1][-1]] == [False, True]


def test_a_module_that_cannot_be_imported_stops_its_own_stage_only(project):
    (project / "pipeline" / "stages" / "compare.py").write_text("import nothing_of_this_name\n")
    for _ in range(2):
        assert ran(project, "nothing")[0] == 0
        broken = start(project, "nothing", "compare")
        assert "No module named 'nothing_of_this_name'" in broken.communicate(timeout=60)[1]
        assert broken.returncode == 1


def test_who_waits_for_people_or_runs_by_hand_or_under_a_launcher_is_a_process_of_its_own(serving):
    assert ran(serving, "nothing", stage="annotate")[-1], "a simulated expert is not waited for"
    params = serving / "params.yaml"
    people = params.read_text().replace("expert: simulated", "expert: human")
    for text in (people, "no: settings"):
        params.write_text(text)
        code, _, _, copied = ran(serving, "nothing", stage="annotate")
        assert (code, copied) == (0, False)
    params.write_text(people)
    assert not ran(serving, "nothing", LOCAL_RANK="0")[-1]
    by_hand = [sys.executable, "-m", "pipeline.stages", "prepare", "--do", "nothing"]
    process = subprocess.Popen(by_hand, cwd=serving, env=environment(), stdout=subprocess.PIPE, text=True)
    assert where(process.communicate()[0]) == process.pid


def test_it_ends_when_nothing_comes_but_not_while_a_stage_runs(serving):
    process = start(serving, "wait")
    copy = where(process.stdout.readline())
    time.sleep(5)
    assert ran(serving, "nothing")[-1], "it waited for the stage"
    process.kill()
    assert gone(copy)
    waiting = [path.parent.name for path in Path("/proc").glob("[0-9]*/cwd") if is_at(path, serving)]
    assert waiting
    time.sleep(5)
    assert all(map(gone, waiting))


def is_at(path, folder):
    try:
        return path.readlink() == folder
    except OSError:
        return False


def test_all_that_stages_import_leaves_no_thread_and_is_taken():
    """The real stages: a copy lacks the threads of what it is a copy of, so that such a process would take nothing."""
    look = "from pipeline import forkserver; forkserver.hand_over(['evaluate', '--help']); print('not taken')"

    def said():
        ours = environment() | {"DVC_STAGE": "evaluate", "LOOKAWAY_TEST": str(os.getpid())}
        command = [sys.executable, "-c", look]
        return subprocess.run(command, cwd=ROOT, env=ours, capture_output=True, text=True, timeout=120).stdout

    assert said() == "not taken\n"
    for _ in range(20):
        if (last := said()) != "not taken\n":
            break
        time.sleep(0.5)
    assert last.startswith("usage: python -m pipeline.stages evaluate")
