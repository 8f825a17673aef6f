"""What `lookaway demo` puts right before it calls `dvc repro`."""

import subprocess

from pipeline.commands.repro import mend_dvc

DVC_YAML = "stages:\n  one:\n    cmd: echo done > out\n    deps: [in]\n    outs: [out]\n"


def dvc(folder, *arguments):
    return subprocess.run(["dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_what_a_full_disk_leaves_in_dvcs_run_cache_stops_no_run(tmp_path):
    """Without the remedy it stops every run. When DVC needs it no more, this test fails, and the remedy can go."""
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "in").write_text("1")
    assert dvc(tmp_path, "repro").returncode == 0
    entries = [path for path in (tmp_path / ".dvc/cache/runs").rglob("*") if path.is_file()]
    for path in (*entries, tmp_path / "dvc.lock", tmp_path / "out"):
        path.unlink()
    stopped = dvc(tmp_path, "repro")
    assert stopped.returncode != 0
    assert "join() argument must be str" in stopped.stderr

    mend_dvc(tmp_path / ".dvc")
    assert dvc(tmp_path, "repro").returncode == 0
    assert (tmp_path / "out").read_text() == "done\n"
    entries = {path for path in (tmp_path / ".dvc/cache/runs").rglob("*") if path.is_file()}
    mend_dvc(tmp_path / ".dvc")
    assert {path for path in (tmp_path / ".dvc/cache/runs").rglob("*") if path.is_file()} == entries != set()


def test_what_a_kill_leaves_of_dvcs_locks_stops_no_run(tmp_path):
    """As above: DVC notes its locks in place, and a kill may leave the note empty."""
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "in").write_text("1")
    note = tmp_path / ".dvc" / "tmp" / "rwlock"
    note.parent.mkdir(exist_ok=True)
    note.touch()
    stopped = dvc(tmp_path, "repro")
    assert stopped.returncode != 0
    assert "Unable to read RWLock-file" in stopped.stderr
    mend_dvc(tmp_path / ".dvc")
    assert dvc(tmp_path, "repro").returncode == 0
    note.write_text('{"out": {"write": {"pid": 1, "cmd": "dvc repro"}}}')
    mend_dvc(tmp_path / ".dvc")
    assert note.exists(), "what can be read is DVC's own"


def test_what_a_kill_leaves_of_dvcs_lock_file_stops_no_run(tmp_path):
    """As above, wherever the file is cut off; what was done is found in the run cache."""
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "in").write_text("1")
    assert dvc(tmp_path, "repro").returncode == 0
    lock = tmp_path / "dvc.lock"
    whole = lock.read_text()
    lock.write_text("")
    assert "validation failed" in dvc(tmp_path, "repro").stderr
    for end in range(len(whole)):
        lock.write_text(whole[:end])
        mend_dvc(tmp_path / ".dvc", patience_s=0)
        if lock.exists() and end % 20 == 0:
            assert dvc(tmp_path, "repro").returncode == 0, whole[:end]
    lock.write_text(whole[: len(whole) // 3])
    mend_dvc(tmp_path / ".dvc")
    assert "skipping run" in dvc(tmp_path, "repro").stdout
    assert lock.read_text() == whole
    mend_dvc(tmp_path / ".dvc")
    assert lock.read_text() == whole
