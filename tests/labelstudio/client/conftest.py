"""The fixtures that tests of waiting share."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fakes.queries import manifest

from labelstudio.client.backend import LabelStudio

EXPERT = "expert@localhost.local"


@pytest.fixture
def asked(fake, tmp_path):
    """The administrator's client, a project with four queries, and a way for the expert to answer the nth."""
    admin, expert = LabelStudio(fake.url, fake.api_key), LabelStudio(fake.url, fake.expert_api_key)
    project, queries = admin.ensure_project("digits"), manifest(tmp_path, 4)
    admin.push(project, queries, tmp_path)
    tasks = admin.tasks(project, queries.keys())

    def give(n: int) -> None:
        expert.annotate(tasks[n], expert=EXPERT, result=[], lead_time=3.0)

    return admin, project, list(queries.keys()), give


@pytest.fixture
def listener():
    """A local HTTP server; ``behave`` is the status it answers with, or "hang"."""

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if server.behave == "hang":
                return released.wait(30)
            self.send_response(server.behave)
            self.end_headers()
            return None

        def log_message(self, *_):
            pass

    heard, released = [], threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.daemon_threads = True
    server.heard, server.behave, server.url = heard, 200, f"http://127.0.0.1:{server.server_port}/hooks/s3cret"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    released.set()
    server.shutdown()
    server.server_close()
