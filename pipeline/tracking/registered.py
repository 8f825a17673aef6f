"""Final networks as registered models, which answer the content of image files."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.arms import results
from pipeline.config import Config
from pipeline.paths import prepared_dir

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient
    from numpy.typing import NDArray
    from torch.export import ExportedProgram

    from pipeline.models.classifier import Classifier

MODEL = "lookaway.model"  # tag of a run: the digest of its registered model
SERVED = Path(__file__).with_name("served.py")
PACKAGE = Path(__file__).parents[1]
CARRIED = ("__init__.py", "sources/__init__.py", "sources/decoding.py", "sources/dicom.py")  # what served.py imports
REQUIRED = ("torch", "numpy", "pillow")
EXTRAS = ("pillow-heif", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")  # required where installed
SERVE = "mlflow models serve -m models:/{name}@hitl --env-manager local"


def register(
    client: MlflowClient, run_id: str, *, name: str, config: Config, scenario: str, arm: str, graph: Graph
) -> None:
    """Log the arm's final network to its run, and register it with the arm as its alias.

    The model carries its preprocessing and the names of its classes. A run that has this model already is left alone.

    Args:
        client: MLflow.
        run_id: The arm's run.
        name: The name of the registered model.
        config: The settings.
        scenario: The scenario's name.
        arm: The arm's name.
        graph: The graph of the scenario's network.
    """
    state = results.final_dir(config, scenario, arm) / "state.pt"
    code = [SERVED, *(PACKAGE / path for path in CARRIED)]
    content = hashlib.sha256(b"".join(path.read_bytes() for path in (state, *code))).hexdigest()
    if client.get_run(run_id).data.tags.get(MODEL) == content and _is_there(client, run_id, name=name, arm=arm):
        return
    with tempfile.TemporaryDirectory() as folder:
        found = _log(
            client,
            Path(folder),
            run_id=run_id,
            name=name,
            config=config,
            scenario=scenario,
            arm=arm,
            state=state,
            graph=graph,
        )
    client.set_registered_model_alias(name, arm, found)
    client.update_registered_model(
        name,
        f"The final networks of {scenario}, with an alias for each arm. The model card is `{scenario}.md` among a "
        f"version's artifacts. To serve one, run `{SERVE.format(name=name)}`. "
        'It answers `{"dataframe_records": [{"image": "<base64 of a JPEG or PNG file>"}]}` at `/invocations`.',
    )
    client.set_tag(run_id, MODEL, content)


def attach(client: MlflowClient, *, name: str, arm: str, files: list[Path]) -> None:
    """Put files beside an arm's registered network: the model card, and the description of the annotated set."""
    model = _model_id(client.get_model_version_by_alias(name, arm))
    for file in files:
        client.log_model_artifact(model, str(file))


def name(experiment: str, scenario: str) -> str:
    """Return the name of a scenario's registered model, in which MLflow takes neither `/` nor `:`."""
    return re.sub("[/:]", "-", f"{experiment}-{scenario}")


def _is_there(client: MlflowClient, run_id: str, *, name: str, arm: str) -> bool:
    """Return False if somebody deleted the model, its version, its alias or its files in MLflow."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version_by_alias(name, arm)
        client.get_logged_model(_model_id(found))  # raises an error for a deleted one, whose files may still be there
        return found.run_id == run_id and bool(client.list_logged_model_artifacts(_model_id(found)))
    except (MlflowException, OSError):
        return False


def _model_id(version: ModelVersion) -> str:
    return str(version.source).rpartition("/")[2]  # of models:/m-…


class Graph:
    """A network as a graph with weights; traced once, because the arms of a scenario differ in weights only."""

    _traced: ExportedProgram | None = None

    def write(self, model: Classifier, pictures: NDArray[np.uint8], path: Path) -> Path:
        """Write the graph with this model's weights, for any number of images like these (B, S, S, 3)."""
        import torch

        from pipeline.models.classifier import Deployed

        network = Deployed(model).cpu().eval()
        network = network.to(memory_format=torch.contiguous_format)  # the archive warns of other formats
        if self._traced is None:
            batch = torch.export.Dim("batch", min=1)
            self._traced = torch.export.export(
                network, (torch.from_numpy(np.array(pictures)),), dynamic_shapes=({0: batch},)
            )
        weights = network.state_dict()
        for name, tensor in self._traced.state_dict.items():
            tensor.data.copy_(weights[name])
        torch.export.save(self._traced, path)
        return path


def _log(
    client: MlflowClient,
    folder: Path,
    *,
    run_id: str,
    name: str,
    config: Config,
    scenario: str,
    arm: str,
    state: Path,
    graph: Graph,
) -> str:
    """Log and register the model, with temporary files in ``folder``, and return its version."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    from pipeline.data import prepared
    from pipeline.training import states

    dataset = config.datasets[config.scenario(scenario).dataset]
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    settings = {"classes": data.classes, "size": dataset.size, "fit": getattr(dataset, "fit", "stretch")}
    settings |= {"white": data.white} if data.white else {}
    settings |= {"findings": True} if data.findings else {}
    if window := getattr(dataset, "window", None):
        settings["window"] = window.model_dump()
    for path in CARRIED:
        (folder / "pipeline" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / path, folder / "pipeline" / path)
    answer = {"prediction": data.classes[0], "probabilities": dict.fromkeys(data.classes, 0.5)}
    example = pd.DataFrame({"image": [_png(data.images[0])]})
    model = states.restore(state, config.scenario(scenario).train).model
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name=f"{arm}-{scenario}",
            python_model=str(SERVED),
            artifacts={"network": str(graph.write(model, data.images[:2], folder / "network.pt2"))},
            code_paths=[str(folder / "pipeline")],
            model_config=settings,
            metadata=settings,
            signature=infer_signature(example, [answer]),
            input_example=example,
            pip_requirements=_requirements(),
        )
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source, id = f"models:/{logged.model_id}", logged.model_id
    return str(client.create_model_version(name, source=source, run_id=run_id, model_id=id).version)


def _requirements() -> list[str]:
    """Return the packages that the model needs, with the versions that are installed here."""
    found = []
    for package in (*REQUIRED, *EXTRAS):
        with suppress(PackageNotFoundError):
            found.append(f"{package}=={version(package).split('+')[0]}")
    return found


def _png(pixels: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
