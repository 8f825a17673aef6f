"""A proxy in front of a Label Studio, fake or real, that makes chosen requests fail.

The kinds of failure:

- reset: the connection is reset; with ``after``, the server has acted before
- truncated: the server acts, and half of its reply arrives
- slow: the server acts, and its reply arrives after ``slow_s`` seconds
- late: the connection is reset at once, and the server acts ``slow_s`` seconds later
- twice: the server acts twice, as Label Studio does after a locked SQLite
- html: a 404 page of another program in between
- "503", …: this status; with ``after``, the server has acted before

``restart`` runs code while nobody can connect.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from fakes.label_studio import Fault

KINDS = ("reset", "truncated", "slow", "late", "twice", "html", "503", "429")
REFUSALS = ("reset", "html", "401", "503", "429")
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@dataclass
class Proxy:
    """In front of the server at ``target``, as a context manager; ``requests``: what came through, in order."""

    target: str
    slow_s: float = 0.3
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Proxy:
        self.lock = threading.Lock()
        self.port = 0
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, method: str, path: str, kind: str, *, after: bool = False, times: int = 1, skip: int = 0) -> None:
        """Make the next ``times`` requests go wrong whose path matches, after the first ``skip`` of them."""
        self.faults += [Fault(method, path, "none", times=skip), Fault(method, path, kind, after, times)]

    @contextmanager
    def restart(self) -> Iterator[None]:
        self._close()
        yield
        self._listen()

    def _listen(self) -> None:
        self._server = Server(("127.0.0.1", self.port), type("Handler", (_Handler,), {"proxy": self}))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str) -> Fault:
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return Fault(method, path, "none")


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault(self.command, self.path)
        if fault.kind == "late":
            threading.Timer(self.proxy.slow_s, self._forward, (body,)).start()
            return self._reset()
        if not fault.after and fault.kind in REFUSALS:
            return self._refuse(fault.kind)
        status, headers, reply = self._forward(body)
        if fault.kind == "twice":
            status, headers, reply = self._forward(body)
        if fault.kind in ("none", "twice"):
            return self._send(status, headers, reply)
        if fault.kind == "slow":
            time.sleep(self.proxy.slow_s)
            return self._send(status, headers, reply)
        if fault.kind == "truncated":
            self._send(status, headers, reply[: len(reply) // 2], announced=len(reply))
            self.close_connection = True
            return None
        return self._refuse(fault.kind)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        parts = urlsplit(self.proxy.target)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):  # as any gateway says it
            return 502, [("Content-Type", "text/html")], b"<html>Bad Gateway</html>"
        finally:
            connection.close()
        return response.status, [h for h in response.getheaders() if h[0].lower() not in HOP_BY_HOP], content

    def _refuse(self, kind: str) -> None:
        if kind == "reset":
            self._reset()
        elif kind == "html":
            self._send(404, [("Content-Type", "text/html")], b"<html>404 Not Found</html>")
        elif kind == "401":
            self._send(401, [("Content-Type", "application/json")], b'{"detail": "injected"}')
        else:
            self._send(int(kind), [("Content-Type", "text/html")], b"<html>injected</html>")

    def _reset(self) -> None:
        # Without lingering, closing sends RST: the client sees a connection reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes, announced: int | None = None) -> None:
        try:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client has gone
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
