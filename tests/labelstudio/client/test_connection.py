"""The connection to a Label Studio: addresses, proxies, connections, and the pauses between attempts."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import attempts
from labelstudio.exchange.records import AnnotationError


@pytest.fixture
def server():
    """A server that answers every request with the account; ``seen``: the request lines; ``peers``: the connections."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            server.seen.append(self.path)
            server.peers.add(self.client_address)
            body = json.dumps({"email": "ada@example.org"}).encode()
            self.send_response(server.status)
            if server.status == 302:
                self.send_header("Location", "https://elsewhere.example.org/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = SimpleNamespace(url=f"http://127.0.0.1:{http.server_port}", status=200, seen=[], peers=set())
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    server.socket = http
    yield server
    http.shutdown()
    http.server_close()


@pytest.mark.parametrize("path", ["", "/", "/label-studio", "/label-studio/"])
def test_a_server_below_a_path_is_found(server, path):
    client = LabelStudio(server.url + path, "key")
    assert client.check() == "ada@example.org"
    assert client.url == (server.url + path).rstrip("/")
    assert server.seen == [f"{path.rstrip('/')}/api/current-user/whoami"]


def test_a_redirect_is_not_followed_and_names_the_setting(server):
    server.status = 302
    with pytest.raises(
        AnnotationError, match=r"redirects to https://elsewhere\.example\.org/\. Fix: correct `LABEL_STUDIO_URL`\."
    ):
        LabelStudio(server.url, "key").check()
    assert len(server.seen) == 1


def test_this_machine_is_reached_without_a_proxy_and_each_time_with_a_new_connection(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    client = LabelStudio(server.url, "key")
    client.check()
    client.check()
    assert len(server.peers) == 2, "a kept connection would wait 40 ms for each reply"


def test_attempts_pause_longer_each_time():
    retrying = attempts()
    pauses = [retrying.wait(SimpleNamespace(attempt_number=number)) for number in range(1, 8)]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_client_imports_the_sdk_only_when_it_connects():
    program = (
        "import sys, labelstudio.client.waiting, labelstudio.client.experts; "
        "print({'label_studio_sdk', 'httpx', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def encrypted(server, tmp_path):
    """The server behind a self-signed certificate; returns the certificate's file."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket.socket = context.wrap_socket(server.socket.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    return certificate


def test_a_self_signed_certificate_is_named_and_can_be_trusted(server, encrypted, monkeypatch):
    with pytest.raises(
        AnnotationError, match=r"not trusted: self-signed certificate.*Fix: set `LABEL_STUDIO_CA_BUNDLE`"
    ):
        LabelStudio(server.url, "key").check()
    monkeypatch.setenv("LABEL_STUDIO_CA_BUNDLE", str(encrypted))
    assert LabelStudio(server.url, "key").check() == "ada@example.org"
    with pytest.raises(AnnotationError, match=r"not trusted: .*mismatch"):
        LabelStudio(server.url.replace("127.0.0.1", "localhost"), "key").check()
    for wrong in (encrypted.parent / "nowhere.pem", encrypted.parent / "key.pem"):
        monkeypatch.setenv("LABEL_STUDIO_CA_BUNDLE", str(wrong))
        with pytest.raises(AnnotationError, match=r"`LABEL_STUDIO_CA_BUNDLE` is .*no file with certificates.*Fix: "):
            LabelStudio(server.url, "key")


def test_tls_to_a_server_without_tls_is_named(server):
    with pytest.raises(AnnotationError, match=r"answers without TLS.*perhaps to http://"):
        LabelStudio(server.url.replace("http:", "https:"), "key").check()


@pytest.mark.parametrize("key", ["key\n", " key", "key\r\n", "\tkey "])
def test_blanks_and_line_ends_around_a_key_do_not_matter(server, key):
    assert LabelStudio(server.url + "\n", key).check() == "ada@example.org"


@pytest.mark.parametrize("key", ["", "ke\ny", "Token key", "kéy", "key\u200b"])
def test_a_key_that_cannot_be_one_is_named(server, key):
    with pytest.raises(AnnotationError, match=r"an API key .*Fix: correct `LABEL_STUDIO_API_KEY`") as caught:
        LabelStudio(server.url, key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("url", ["http://host:port", "http://my host", "http://[::1", "http://ho\nst"])
def test_a_url_that_cannot_be_one_is_named(url):
    with pytest.raises(AnnotationError, match="not a Label Studio URL"):
        LabelStudio(url, "key")
