"""The local server: started once, stopped cleanly, and not confused by anybody's sudden death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import requests
from fakes.checkout import ROOT

from labelstudio.client.backend import LabelStudio
from labelstudio.exchange.records import AnnotationError
from labelstudio.server import accounts, local, process


@pytest.fixture
def folder(real_label_studio, tmp_path):
    """A data folder that has been used before (so that a start takes seconds), and no server yet."""
    used = Path(real_label_studio.data_dir)
    folder = tmp_path / "label-studio"
    folder.mkdir(mode=0o700)
    for name in ("server.json", "label_studio.sqlite3", ".env"):
        shutil.copy2(used / name, folder / name)
    yield folder
    local.stop(folder)


def pid_of(folder: Path) -> int:
    return int((folder / "server.pid").read_text())


def starting(folder: Path) -> subprocess.Popen:
    """Another program that starts the server and prints its URL."""
    code = "import sys; from pathlib import Path; from labelstudio.server import local; "
    code += "print(local.start(Path(sys.argv[1])).url)"
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.labelstudio
def test_two_starts_at_once_make_one_server(folder):
    starters = [starting(folder) for _ in range(2)]
    urls = {starter.communicate(timeout=120)[0].strip() for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0]
    assert len(urls) == 1
    pid = pid_of(folder)
    url = local.start(folder).url
    assert {url} == urls, "a third start reuses it"
    assert pid_of(folder) == pid
    with pytest.raises(AnnotationError, match="not on port 1024"):
        local.start(folder, port=1024)

    assert local.stop(folder)
    assert local.status(folder) is None
    assert not local.stop(folder)
    with pytest.raises(requests.ConnectionError):
        requests.get(url)


@pytest.mark.labelstudio
def test_a_killed_starter_and_a_killed_server_are_got_over(folder):
    before = (folder / "server.json").read_text()
    starter = starting(folder)
    while not (folder / "server.pid").exists():
        time.sleep(0.02)
    starter.kill()
    starter.wait()
    running = local.start(folder)
    assert LabelStudio(running.url, running.api_key).check() == "admin@localhost.local"
    assert running.api_key in before, "it is the same database with the same accounts"

    os.kill(pid_of(folder), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while local.status(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert local.status(folder) is None
    assert not local.stop(folder), "there is nothing left to stop"
    local.start_early(folder)
    pid = process.pid(folder)
    again = local.start(folder)
    assert again.url == running.url, "links stay valid"
    assert pid_of(folder) == pid, "an early start is waited for, and not repeated"
    assert LabelStudio(again.url, again.expert_api_key).check() == "expert@localhost.local"


@pytest.mark.labelstudio
def test_a_port_that_is_lost_while_it_starts_is_given_up(folder, monkeypatch):
    launch = process.launch

    def slower_than_another(data_dir, state):
        """Another program has the port but does not listen yet; Label Studio looks for listeners only."""
        rival.bind(("127.0.0.1", 0))
        monkeypatch.setattr(process, "launch", launch)
        launch(data_dir, state | {"port": rival.getsockname()[1]})

    monkeypatch.setattr(process, "launch", slower_than_another)
    with socket.socket() as rival:
        running = local.start(folder)
        assert running.url != process.url(rival.getsockname()[1])
    assert LabelStudio(running.url, running.api_key).check() == "admin@localhost.local"


@pytest.mark.labelstudio
def test_tokens_the_database_does_not_know_are_looked_up_again(folder):
    text = (folder / "server.json").read_text()
    token = text.split('"token": "')[1].split('"')[0]
    (folder / "server.json").write_text(text.replace(token, "0" * 40))
    assert local.start(folder).api_key == token


def test_a_stale_pid_is_nobody_we_would_stop(tmp_path):
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        for name in ("running.lock", "starting.lock"):
            (tmp_path / name).touch()
        (tmp_path / "server.pid").write_text(f"{innocent.pid}\n")
        (tmp_path / "server.log").write_text("Starting development server at http://127.0.0.1:8080/\n")
        assert local.status(tmp_path) is None
        assert not local.stop(tmp_path)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AnnotationError, match=rf"port {port} is in use\. Fix: choose another port"):
            local.start(tmp_path, port=port)


def test_a_folder_that_cannot_be_one_is_said_to_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AnnotationError, match="cannot be Label Studio's data folder"):
        local.start(tmp_path / "file")


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "label_studio.sqlite3").write_text("this is no database")
    with pytest.raises(AnnotationError, match="file is not a database"):
        local.start(tmp_path)
    assert not local.stop(tmp_path)


@pytest.mark.labelstudio
def test_secrets_stay_with_their_owner(real_label_studio):
    folder = Path(real_label_studio.data_dir)
    assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    seen = (folder / "server.log").read_text() + Path(f"/proc/{pid_of(folder)}/cmdline").read_text()
    for account in (real_label_studio.admin, real_label_studio.expert):
        assert account["password"] not in seen + repr(real_label_studio)
        assert account["token"] not in seen + repr(real_label_studio)


@pytest.mark.labelstudio
def test_it_listens_on_this_machine_only(real_label_studio):
    port = f"{int(real_label_studio.url.rsplit(':', 1)[1]):04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port}")
    ]
    assert listening == [f"0100007F:{port}"]


@pytest.mark.labelstudio
def test_nobody_signs_up_without_an_invitation(real_label_studio):
    stranger = accounts.Account(email="stranger@localhost.local", password="correct horse battery")
    browser = accounts.Browser(real_label_studio.url)
    with pytest.raises(AnnotationError, match="403"):
        browser.post_form("/user/signup/", stranger)
    assert not browser.log_in(stranger)


@pytest.mark.labelstudio
def test_invited_people_sign_up_under_their_own_names(real_label_studio):
    link = local.invite(real_label_studio.data_dir)
    assert link.startswith(real_label_studio.url + "/user/signup/?token=")
    for name in ("ada", "bob"):  # one link for everybody
        person = accounts.Account(email=f"{name}@example.org", password="correct horse battery")
        browser = accounts.Browser(real_label_studio.url)
        browser.post_form(link.removeprefix(real_label_studio.url), person)
        assert LabelStudio(real_label_studio.url, browser.token()).check() == f"{name}@example.org"
    assert link not in (Path(real_label_studio.data_dir) / "server.log").read_text()


@pytest.mark.parametrize("start", [local.start, local.start_early, local.invite])
def test_without_label_studio_installed_the_two_remedies_are_named(tmp_path, monkeypatch, start):
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "version", missing)
    with pytest.raises(
        AnnotationError, match=r"not installed .* Fix: `pip install -e '\.\[local-server\]'` or set `LABEL"
    ):
        start(tmp_path / "label-studio")
    assert local.status(tmp_path / "label-studio") is None


def test_a_folder_of_a_newer_label_studio_is_left_alone(tmp_path):
    (tmp_path / "server.json").write_text('{"version": "99.1.0", "port": 8080}')
    with pytest.raises(
        AnnotationError, match=r"last used by Label Studio 99\.1\.0, .* Fix: `pip install label-studio==99\.1\.0`"
    ):
        local.start(tmp_path)
    assert json.loads((tmp_path / "server.json").read_text())["version"] == "99.1.0"
    assert not (tmp_path / "server.log").exists()


@pytest.mark.labelstudio
def test_the_version_is_remembered(real_label_studio):
    state = json.loads((Path(real_label_studio.data_dir) / "server.json").read_text())
    assert state["version"] == version("label-studio")


@pytest.mark.labelstudio
def test_a_person_can_log_in_with_the_experts_password(real_label_studio):
    again = local.start(real_label_studio.data_dir)
    assert again.expert == real_label_studio.expert
    assert accounts.Browser(again.url).log_in(again.expert)
    assert local.status(real_label_studio.data_dir) == again.url


def test_status_and_stop_where_no_server_ever_ran(tmp_path):
    assert local.status(tmp_path / "none") is None
    assert not local.stop(tmp_path / "none")
    assert not (tmp_path / "none").exists()


# --- which server to use ---


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """An empty folder as the current one, and none of our settings in the environment."""
    for name in ("URL", "API_KEY", "EXPERT_API_KEY", "PORT"):
        monkeypatch.delenv(f"LABEL_STUDIO_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_connect_takes_the_server_of_the_environment(settings, tmp_path):
    settings.setenv("LABEL_STUDIO_URL", "https://ls.example.org")
    settings.setenv("LABEL_STUDIO_API_KEY", "key")
    assert local.connect() == ("https://ls.example.org", "key", None)
    (tmp_path / ".env").write_text("LABEL_STUDIO_EXPERT_API_KEY=expert\nLABEL_STUDIO_API_KEY=overruled\n")
    assert local.connect() == ("https://ls.example.org", "key", "expert")
    assert not (tmp_path / ".labelstudio").exists()


@pytest.mark.parametrize("name", ["LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"])
def test_connect_wants_both_or_neither(settings, name):
    settings.setenv(name, "https://ls.example.org")
    with pytest.raises(AnnotationError, match=f"` is not set, but `{name}` is") as caught:
        local.connect()
    assert name not in str(caught.value).split(" is not set")[0]


def test_connect_otherwise_starts_a_local_one_on_the_port_wanted(settings):
    started = []
    settings.setattr(local, "start", lambda port, experts: started.append((port, experts)) or FakeServer)
    assert local.connect() == ("http://127.0.0.1:1", "a", "e")
    settings.setenv("LABEL_STUDIO_PORT", "8099")
    local.connect(experts=3)
    assert started == [(None, 1), (8099, 3)]
    settings.setenv("LABEL_STUDIO_PORT", "eighty")
    with pytest.raises(AnnotationError, match="must be a port number, not 'eighty'"):
        local.connect()


class FakeServer:
    url, api_key, expert_api_keys = "http://127.0.0.1:1", "a", ("e",)


@pytest.mark.labelstudio
def test_the_environments_own_settings_do_not_reach_the_server(real_label_studio):
    folder = Path(real_label_studio.data_dir)
    names = {line.split("=")[0] for line in Path(f"/proc/{pid_of(folder)}/environ").read_text().split("\0")}
    assert {"HOST", "PORT", "DEBUG", "LABEL_STUDIO_HOST", "LABEL_STUDIO_API_KEY"}.isdisjoint(names)
    assert requests.get(f"{real_label_studio.url}/health").json() == {"status": "UP"}
