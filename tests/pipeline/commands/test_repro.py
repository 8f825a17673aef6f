"""What `lookaway demo` puts right before it calls `dvc repro`."""

import subprocess

from pipeline.commands.repro import RUN_CACHE, forget_unwritten

DVC_YAML = "stages:\n  one:\n    cmd: echo done > out\n    deps: [in]\n    outs: [out]\n"


def dvc(folder, *arguments):
    return subprocess.run(["dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_what_a_full_disk_leaves_in_dvcs_run_cache_stops_no_run(tmp_path):
    """Without the remedy it stops every run. When DVC needs it no more, this test fails, and the remedy can go."""
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "in").write_text("1")
    assert dvc(tmp_path, "repro").returncode == 0
    entries = [path for path in (tmp_path / RUN_CACHE).rglob("*") if path.is_file()]
    for path in (*entries, tmp_path / "dvc.lock", tmp_path / "out"):
        path.unlink()
    stopped = dvc(tmp_path, "repro")
    assert stopped.returncode != 0
    assert "join() argument must be str" in stopped.stderr

    forget_unwritten(tmp_path / RUN_CACHE)
    assert dvc(tmp_path, "repro").returncode == 0
    assert (tmp_path / "out").read_text() == "done\n"
    entries = {path for path in (tmp_path / RUN_CACHE).rglob("*") if path.is_file()}
    forget_unwritten(tmp_path / RUN_CACHE)
    assert {path for path in (tmp_path / RUN_CACHE).rglob("*") if path.is_file()} == entries != set()
