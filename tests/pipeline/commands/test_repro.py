"""`lookaway demo` puts DVC's own files right before it calls `dvc repro`."""

import time

import pytest
from fakes import warm_python
from fakes.checkout import ROOT

from pipeline.commands.repro import mend_dvc

DVC_YAML = "stages:\n  one:\n    cmd: echo done > out\n    deps: [in]\n    outs: [out]\n"


def dvc(folder, *arguments):
    return warm_python.run("-m", "dvc", *arguments, cwd=folder, code=ROOT)


@pytest.fixture
def project(tmp_path):
    """A DVC project of one stage, which has not run."""
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "in").write_text("1")
    return tmp_path


def test_what_a_full_disk_leaves_in_dvcs_run_cache_stops_no_run(project):
    """Without the remedy it stops every run. When DVC needs it no more, this test fails, and the remedy can go."""
    assert dvc(project, "repro").returncode == 0
    entries = [path for path in (project / ".dvc/cache/runs").rglob("*") if path.is_file()]
    for path in (*entries, project / "dvc.lock", project / "out"):
        path.unlink()
    stopped = dvc(project, "repro")
    assert stopped.returncode != 0
    assert "join() argument must be str" in stopped.stderr

    mend_dvc(project / ".dvc")
    assert dvc(project, "repro").returncode == 0
    assert (project / "out").read_text() == "done\n"
    entries = {path for path in (project / ".dvc/cache/runs").rglob("*") if path.is_file()}
    mend_dvc(project / ".dvc")
    assert {path for path in (project / ".dvc/cache/runs").rglob("*") if path.is_file()} == entries != set()


def test_what_a_kill_leaves_of_dvcs_locks_stops_no_run(project):
    """As above: DVC notes its locks in place, and a kill may leave the note empty."""
    note = project / ".dvc" / "tmp" / "rwlock"
    note.parent.mkdir(exist_ok=True)
    note.touch()
    stopped = dvc(project, "repro")
    assert stopped.returncode != 0
    assert "Unable to read RWLock-file" in stopped.stderr
    mend_dvc(project / ".dvc")
    assert dvc(project, "repro").returncode == 0
    note.write_text('{"out": {"write": {"pid": 1, "cmd": "dvc repro"}}}')
    mend_dvc(project / ".dvc")
    assert note.exists(), "what can be read is DVC's own"


def test_what_a_kill_leaves_of_dvcs_lock_file_stops_no_run(project, monkeypatch):
    """As above, wherever the file is cut off; what was done is found in the run cache."""
    assert dvc(project, "repro").returncode == 0
    lock = project / "dvc.lock"
    whole = lock.read_text()
    lock.write_text("")
    assert "validation failed" in dvc(project, "repro").stderr
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for end in range(len(whole)):
        lock.write_text(whole[:end])
        mend_dvc(project / ".dvc")
        if lock.exists() and end % 20 == 0:
            assert dvc(project, "repro").returncode == 0, whole[:end]
    lock.write_text(whole[: len(whole) // 3])
    mend_dvc(project / ".dvc")
    assert "skipping run" in dvc(project, "repro").stdout
    assert lock.read_text() == whole
    mend_dvc(project / ".dvc")
    assert lock.read_text() == whole
