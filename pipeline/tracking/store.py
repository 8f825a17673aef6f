"""The MLflow that receives the results: a server, or a database in the checkout.

MLflow is imported late, because its import takes seconds.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from labelstudio.server import checkout
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "lookaway"  # unless MLFLOW_EXPERIMENT_NAME names another experiment
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"  # in the checkout
SQLITE = "sqlite:///"
PROBE_S = 5.0
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# MLflow would try for four minutes. A result that is not published now is published by the next `compare`. Between the
# epochs, nobody wants to read that MLflow creates its tables.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


def client() -> MlflowClient:
    """Return a client of the MLflow in use; raises PipelineError within seconds if its server does not answer."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    uri = os.environ[URI] = _uri()
    if not uri.startswith(SQLITE):
        _probe(uri)
    elif _own_database(uri).exists():
        _bring_home(_own_database(uri))
    import mlflow

    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def experiment(client: MlflowClient) -> str:
    """Return the experiment's id; create the experiment if it does not exist, and restore it if it was deleted."""
    found = client.get_experiment_by_name(name())
    if found is None:
        in_a_copy = os.environ[URI].startswith(SQLITE) and checkout.home() != Path()
        place = (checkout.home() / ARTIFACTS / name().replace("/", "-")).absolute().as_uri() if in_a_copy else None
        return str(client.create_experiment(name(), artifact_location=place))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        print(f"MLflow's experiment {name()!r} was deleted there, and is restored")
    return str(found.experiment_id)


def name() -> str:
    """Return the experiment's name."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def reason(error: Exception) -> str:
    """Return an error of MLflow in one line, without the passwords of its server or database."""
    secrets = [urlsplit(os.environ.get(URI, "")).password]
    secrets += [os.environ.get(f"MLFLOW_TRACKING_{kind}") for kind in ("PASSWORD", "TOKEN")]
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text[:500]


def _uri() -> str:
    uri = os.environ.get(URI) or f"{SQLITE}{DATABASE}"
    if not uri.startswith(SQLITE):
        return uri
    return SQLITE + str(checkout.home() / uri.removeprefix(SQLITE))  # an absolute path stays as it is


def _probe(uri: str) -> None:
    parts = urlsplit(uri)
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS") == "true"
    verify = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or not insecure
    try:
        if parts.scheme in ("http", "https"):
            requests.get(uri, timeout=PROBE_S, verify=verify, stream=True, allow_redirects=False).close()
        elif port := parts.port or PORTS.get(parts.scheme.partition("+")[0]):
            socket.create_connection((parts.hostname or "localhost", port), timeout=PROBE_S).close()
    except requests.exceptions.SSLError as error:
        raise PipelineError(
            f"the certificate of `{URI}` is not trusted ({error}). Fix: set `MLFLOW_TRACKING_SERVER_CERT_PATH` to the "
            "file with the certificate of its authority"
        ) from error
    except (requests.RequestException, OSError) as error:
        raise PipelineError(
            f"no MLflow answers at `{URI}` within {PROBE_S:.0f} s ({type(error).__name__}). Fix: start it, or correct "
            f"`{URI}`"
        ) from error


def _own_database(uri: str) -> Path:
    """Return the file of the checkout's own database; a path without a file for every other store."""
    file = Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else Path("/nowhere")
    return file if file.parent == checkout.home().absolute() else Path("/nowhere")


def _bring_home(database: Path) -> None:
    """Let the database of a copied or moved checkout name its own artefacts: MLflow stores absolute paths."""
    here = str(database.parent / ARTIFACTS)
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if "experiments" not in tables:  # another process is creating it
            return
        rows = connection.execute("SELECT artifact_location FROM experiments WHERE artifact_location LIKE '%/mlruns/%'")
        roots = {row[0].rpartition("/")[0] for row in rows}
        for root in sorted(root for root in roots if root.endswith(f"/{ARTIFACTS}") and _path(root) != here):
            for table in tables:
                for _, column, *_ in connection.execute(f"PRAGMA table_info('{table}')").fetchall():
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '
                        f'WHERE substr("{column}", 1, ?) = ?',
                        (root.replace(_path(root), here), len(root) + 1, len(root) + 1, f"{root}/"),
                    )
            print(f"MLflow's database comes from another folder, {_path(root)}; its artefacts are in {here} now")


def _path(root: str) -> str:
    return root.removeprefix("file://")
