"""A stand-in for Label Studio 1.23 inside the test process: the requests that we send, their replies and their traps.

The same tests run against this server and a real one. It keeps these traps of the real server:

- POSTs are never deduplicated.
- Ids recur after a deletion.
- A page past the end is a 404.
- Uploads are listed to their owner only.
- Titles are searched by parts, without regard to case.
- ``completed_by`` is a number or an account.

``fail`` makes the next matching requests fail, before or after they took effect.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import json
import re
import socket
import struct
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADMIN, EXPERT = "admin@localhost.local", "expert@localhost.local"
CROWD = (EXPERT, "expert-2@localhost.local", "expert-3@localhost.local")


@dataclass
class Fault:
    """A failure of the next ``times`` requests that match."""

    method: str
    path: str  # a regular expression for path and query
    kind: str  # "reset", "html" (a 404 page), "late" (reset; takes effect later), or a status such as "503"
    after: bool = False  # the request takes effect before it fails
    times: int = 1


class Reply(Exception):
    """Ends a request with this status and body."""

    def __init__(self, status: int, body: Any = None) -> None:
        self.status, self.body = status, body


@dataclass
class FakeLabelStudio:
    """A server on a free port of this machine, as a context manager."""

    completed_by: str = "int"  # or "dict"
    late_s: float = 0.1
    clock_s: float = 0.0  # how far its clock is ahead of ours
    token_life_s: float = 300.0  # of an access token
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> FakeLabelStudio:
        self.users = dict(enumerate((ADMIN, *CROWD), start=1))
        self.keys = {self.api_key: 1} | {key: id for id, key in enumerate(self.expert_api_keys, start=2)}
        self.last_activity: dict[int, str] = {}
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.uploads: dict[int, dict[str, Any]] = {}
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        return "admin-legacy-key-0123456789"

    @property
    def expert_api_key(self) -> str:
        return "expert-legacy-key-0123456789"

    @property
    def expert_api_keys(self) -> list[str]:
        return [self.expert_api_key, "expert-2-legacy-key-0123456789", "expert-3-legacy-key-0123456789"]

    @property
    def personal_access_token(self) -> str:
        return jwt("refresh", 1, lifetime_s=3e9)  # about a hundred years, as the real one

    def fail(self, method: str, path: str, kind: str, *, after: bool = False, times: int = 1) -> None:
        self.faults.append(Fault(method, path, kind, after, times))

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    # --- what the endpoints do; each returns (status, body) ---

    def handle(self, method: str, path: str, query: dict[str, str], body: Any, user: int | None) -> Any:
        if (method, path) == ("POST", "/api/token/refresh"):
            claims = self.claims(body.get("refresh", ""))
            if claims is None:
                raise Reply(401, {"detail": "Token is invalid"})
            return 200, {"access": jwt("access", claims["user_id"], self.clock_s + self.token_life_s)}
        if user is None:
            raise Reply(401, {"detail": "Invalid token."})
        if method != "GET":
            self.last_activity[user] = self.now()
        for pattern, endpoint in {
            r"GET /api/current-user/whoami": self._whoami,
            r"GET /api/users": self._users,
            r"PATCH /api/users/(\d+)": self._rename_user,
            r"DELETE /api/users/(\d+)": self._delete_user,
            r"GET /api/projects": self._list_projects,
            r"POST /api/projects": self._create_project,
            r"GET /api/projects/(\d+)": self._get_project,
            r"PATCH /api/projects/(\d+)": self._change_project,
            r"POST /api/projects/(\d+)/import": self._import,
            r"GET /api/projects/(\d+)/file-uploads": self._file_uploads,
            r"GET /api/tasks": self._list_tasks,
            r"GET /api/projects/(\d+)/next": self._next_task,
            r"PATCH /api/tasks/(\d+)": self._change_task,
            r"DELETE /api/tasks/(\d+)": self._delete_task,
            r"POST /api/dm/actions": self._delete_tasks,
            r"POST /api/tasks/(\d+)/annotations": self._annotate,
            r"PATCH /api/annotations/(\d+)": self._change_annotation,
            r"GET /data/(upload/.+)": self._picture,
        }.items():
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return endpoint(user, query, body, *match.groups())
        raise Reply(404, {"detail": "Not found."})

    def _whoami(self, user: int, query: Any, body: Any) -> Any:
        return 200, {"id": user, "email": self.users[user]}

    def _users(self, user: int, query: Any, body: Any) -> Any:
        return 200, [
            {"id": id, "email": email, "last_activity": self.last_activity.get(id, "2020-01-01T00:00:00Z")}
            for id, email in self.users.items()
        ]

    def _rename_user(self, user: int, query: Any, body: dict[str, Any], account: str) -> Any:
        # The real one lets an administrator change an address on its own pages only.
        self.users[int(account)] = body["email"]
        return 200, {"id": int(account), "email": body["email"]}

    def _delete_user(self, user: int, query: Any, body: Any, account: str) -> Any:
        del self.users[int(account)]
        for annotation in self.annotations.values():
            if annotation["completed_by"] == int(account):
                annotation["completed_by"] = None
        return 204, b""

    def _list_projects(self, user: int, query: dict[str, str], body: Any) -> Any:
        wanted = query.get("title", "").lower()
        rows = [p for p in reversed(self.projects.values()) if wanted in p["title"].lower()]
        page = _page(rows, query)
        if fields := query.get("include"):
            page = [{name: row[name] for name in fields.split(",")} for row in page]
        return 200, {"count": len(rows), "next": None, "previous": None, "results": page}

    def _create_project(self, user: int, query: Any, body: dict[str, Any]) -> Any:
        if not 3 <= len(body["title"]) <= 50:
            raise Reply(400, {"validation_errors": {"title": ["Ensure this field has no more than 50 characters."]}})
        project = {
            "id": _next(self.projects),
            "maximum_annotations": 1,
            "description": "",
            "created_at": self.now(),
            **body,
            "label_config": body["label_config"].strip(),
        }
        self.projects[project["id"]] = project
        return 201, project

    def _get_project(self, user: int, query: Any, body: Any, project: str) -> Any:
        return 200, self._project(project)

    def _change_project(self, user: int, query: Any, body: dict[str, Any], project: str) -> Any:
        found = self._project(project)
        if body.get("maximum_annotations", found["maximum_annotations"]) != found["maximum_annotations"]:
            for task in self.tasks.values():
                if task["project"] == found["id"]:
                    task["overlap"] = body["maximum_annotations"]
        found.update(body)
        return 200, found

    def _import(self, user: int, query: dict[str, str], body: Any, project: str) -> Any:
        project_id = self._project(project)["id"]
        if isinstance(body, dict):  # files
            if len(body) > 100:
                raise Reply(400, {"detail": "The number of files exceeded 100"})
            ids = []
            for name, content in body.items():
                id = _next(self.uploads)
                file = f"upload/{project_id}/{uuid.uuid4().hex[:8]}-{name}"
                self.uploads[id] = {"file": file, "project": project_id, "user": user, "content": content}
                ids.append(id)
            return 201, {"task_count": len(ids), "file_upload_ids": ids}
        for item in body:
            id = _next(self.tasks)
            predictions = [{"id": id * 10 + n, "task": id, **p} for n, p in enumerate(item["predictions"])]
            self.tasks[id] = {
                "id": id,
                "project": project_id,
                "data": item["data"],
                "predictions": predictions,
                "overlap": self.projects[project_id]["maximum_annotations"],
                "is_labeled": False,
            }
        return 201, {"task_count": len(body), "prediction_count": len(body), "file_upload_ids": []}

    def _file_uploads(self, user: int, query: dict[str, str], body: Any, project: str) -> Any:
        if query.get("all") != "true":
            return 200, []
        rows = [
            {"id": id, "file": upload["file"], "size": len(upload["content"])}
            for id, upload in self.uploads.items()
            if upload["project"] == int(project) and upload["user"] == user
        ]
        return 200, rows

    def _picture(self, user: int, query: Any, body: Any, file: str) -> Any:
        for upload in self.uploads.values():
            if upload["file"] == file:
                return 200, upload["content"]
        raise Reply(404, {"detail": "Not found."})

    def _list_tasks(self, user: int, query: dict[str, str], body: Any) -> Any:
        project = self._project(query["project"])["id"]
        rows = [task for task in self.tasks.values() if task["project"] == project]
        if "query" in query:
            (item,) = json.loads(query["query"])["filters"]["items"]
            if item | {"filter": "filter:tasks:id", "operator": "greater_or_equal", "type": "Number"} != item:
                raise Reply(400, {"detail": "the fake knows how to list tasks from an id on only"})
            rows = [task for task in rows if task["id"] >= item["value"]]
        page = [dict(row) for row in _page(rows, query)]
        for row in page:
            if query.get("fields") != "all":
                del row["predictions"]
                continue
            given = [a for a in self.annotations.values() if a["task"] == row["id"]]
            row["annotations"] = [self._shown(a) for a in given]
            annotators = {a["completed_by"] for a in given if not a["was_cancelled"]}
            row["is_labeled"] = len(annotators) >= row["overlap"]
        return 200, {"tasks": page, "total": len(rows), "total_annotations": 0, "total_predictions": 0}

    def _shown(self, annotation: dict[str, Any]) -> dict[str, Any]:
        by = annotation["completed_by"]
        if self.completed_by == "dict" and by is not None:
            by = {"id": by, "email": self.users[by]}
        return {name: value for name, value in {**annotation, "completed_by": by}.items() if name != "unique_id"}

    def _next_task(self, user: int, query: Any, body: Any, project: str) -> Any:
        """The least certain task that still wants an answer, and has none of this account's."""
        theirs = {a["task"] for a in self.annotations.values() if a["completed_by"] == user}
        rows = [t for t in self.tasks.values() if t["project"] == int(project) and not t["is_labeled"]]
        rows = [task for task in rows if task["id"] not in theirs]
        if not rows:
            raise Reply(404, {"detail": "There are still some tasks to complete for the user"})
        return 200, min(rows, key=lambda task: (task["predictions"][0]["score"], task["id"]))

    def _change_task(self, user: int, query: Any, body: dict[str, Any], task: str) -> Any:
        self._task(task).update(body)
        return 200, self._task(task)

    def _delete_task(self, user: int, query: Any, body: Any, task: str) -> Any:
        del self.tasks[self._task(task)["id"]]
        self.annotations = {id: a for id, a in self.annotations.items() if a["task"] != int(task)}
        return 204, b""

    def _delete_tasks(self, user: int, query: dict[str, str], body: dict[str, Any]) -> Any:
        selected = body["selectedItems"]["included"]
        if query["id"] != "delete_tasks" or not selected:
            raise Reply(400, {"detail": "the fake knows how to delete named tasks only"})
        for task in selected:
            self._delete_task(user, query, body, str(task))
        return 200, {"processed_items": len(selected)}

    def _annotate(self, user: int, query: dict[str, str], body: dict[str, Any], task: str) -> Any:
        unique_id = body.get("unique_id")
        if unique_id and any(a["unique_id"] == unique_id for a in self.annotations.values()):
            raise Reply(409, {"detail": "Annotation with this unique id already exists"})
        annotation = {
            "id": _next(self.annotations),
            "task": self._task(task)["id"],
            "result": body.get("result", []),
            "completed_by": user,
            "was_cancelled": query.get("was_cancelled") == "1" or bool(body.get("was_cancelled")),
            "created_at": self.now(),
            "updated_at": self.now(),
            "lead_time": body.get("lead_time"),
            "parent_prediction": body.get("parent_prediction"),
            "unique_id": unique_id,
        }
        self.annotations[annotation["id"]] = annotation
        given = [a for a in self.annotations.values() if a["task"] == int(task) and not a["was_cancelled"]]
        self._task(task)["is_labeled"] = len({a["completed_by"] for a in given}) >= self._task(task)["overlap"]
        return 201, self._shown(annotation)

    def _change_annotation(self, user: int, query: Any, body: dict[str, Any], annotation: str) -> Any:
        found = self.annotations[int(annotation)]
        found.update(body, updated_at=self.now())
        return 200, self._shown(found)

    def now(self) -> str:
        return _timestamp(time.time() + self.clock_s)

    def claims(self, token: str) -> dict[str, Any] | None:
        """A token's claims, if it is one of ours and, by our clock, not too old."""
        claims = _claims(token)
        return claims if claims and claims["exp"] > time.time() + self.clock_s else None

    def _project(self, id: str) -> dict[str, Any]:
        if int(id) not in self.projects:
            raise Reply(404, {"detail": "No Project matches the given query."})
        return self.projects[int(id)]

    def _task(self, id: str) -> dict[str, Any]:
        if int(id) not in self.tasks:
            raise Reply(404, {"detail": "No Task matches the given query."})
        return self.tasks[int(id)]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeLabelStudio
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet a reply, or each would wait 40 ms for the other side's ACK
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.fake.fault(self.command, self.path)
        self.fake.requests.append(f"{self.command} {self.path}")
        if fault and fault.kind == "late":
            threading.Timer(self.fake.late_s, self._result, (raw,)).start()
        status, body = self._result(raw) if fault is None or fault.after else (0, b"")
        if fault is None:
            return self._send(status, body)
        if fault.kind in ("reset", "late"):
            # Without lingering, closing sends RST: the client sees a connection reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault.kind == "html":
            self._send(404, b"<html>404 Not Found</html>", "text/html")
        else:
            self._send(int(fault.kind), {"detail": "injected"})
        return None

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def _result(self, raw: bytes) -> tuple[int, Any]:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            with self.fake.lock:
                result: tuple[int, Any] = self.fake.handle(
                    self.command, parts.path.rstrip("/"), query, self._content(raw), self._user()
                )
                return result
        except Reply as reply:
            return reply.status, reply.body

    def _user(self) -> int | None:
        kind, _, key = (self.headers.get("Authorization") or "").partition(" ")
        if kind == "Bearer":
            claims = self.fake.claims(key)
            return claims["user_id"] if claims and claims["token_type"] == "access" else None
        return self.fake.keys.get(key)

    def _content(self, raw: bytes) -> Any:
        kind = self.headers.get("Content-Type") or ""
        if not kind.startswith("multipart/"):
            return json.loads(raw) if raw else None
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        message = parser.parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + raw)
        # As in Django, of several files in one field only the last one counts.
        fields = {p.get_param("name", header="Content-Disposition"): p for p in message.iter_parts()}
        return {part.get_filename(): part.get_payload(decode=True) for part in fields.values()}

    def _send(self, status: int, body: Any, kind: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + self.fake.clock_s)

    def log_message(self, *_: Any) -> None:
        pass


def _next(rows: dict[int, Any]) -> int:
    """One more than the highest id there is now: what was deleted last recurs, as on SQLite."""
    return max(rows, default=0) + 1


def _page(rows: list[Any], query: dict[str, str]) -> list[Any]:
    number, size = int(query.get("page", 1)), int(query.get("page_size", 100))
    if number > max(1, -(-len(rows) // size)):
        raise Reply(404, {"detail": "Invalid page."})
    return rows[(number - 1) * size : number * size]


def _timestamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"


def jwt(kind: str, user: int, lifetime_s: float = 300) -> str:
    def encoded(part: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    claims = {"token_type": kind, "exp": time.time() + lifetime_s, "user_id": user}
    return f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims)}.c2lnbmF0dXJl"


def _claims(token: str) -> dict[str, Any] | None:
    """A token's claims; only this fake's own signature is accepted."""
    parts = token.split(".")
    if len(parts) != 3 or parts[2] != "c2lnbmF0dXJl":
        return None
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    return claims
