"""An object storage of one process: what Label Studio asks of S3's API, and no more. It checks no signature."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FakeS3:
    """As a context manager, on a free port of this machine; ``objects`` is its content by path."""

    def __enter__(self) -> FakeS3:
        self.objects: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"objects": self.objects}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("x-amz-content-sha256", "").startswith("STREAMING"):
            content = _without_chunks(content)
        self.objects[self._key()] = content
        self._send(200, b"", content)

    def do_GET(self) -> None:
        content = self.objects.get(self._key())
        self._send(404, b"") if content is None else self._send(200, content, content)

    do_HEAD = do_GET

    def _key(self) -> str:
        return urlsplit(self.path).path

    def _send(self, status: int, body: bytes, stored: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("ETag", f'"{hashlib.md5(stored).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", self.date_time_string())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _without_chunks(content: bytes) -> bytes:
    """The payload of AWS's own chunks: each has its length in hexadecimal before it, and a signature."""
    payload = b""
    while True:
        head, _, content = content.partition(b"\r\n")
        length = int(head.partition(b";")[0], 16)
        if length == 0:
            return payload
        payload, content = payload + content[:length], content[length + 2 :]
