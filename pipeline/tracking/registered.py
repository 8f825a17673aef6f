"""Final networks as registered models that answer raw image files."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.arms import results
from pipeline.config import Config
from pipeline.paths import prepared_dir

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from numpy.typing import NDArray
    from torch.export import ExportedProgram

    from pipeline.models.classifier import Classifier

MODEL = "lookaway.model"
SERVED = Path(__file__).with_name("served.py")
PACKAGE = Path(__file__).parents[1]
CARRIED = ("__init__.py", "datasets/__init__.py", "datasets/decoding.py")  # what served.py imports of the project


def register(
    client: MlflowClient, run_id: str, name: str, config: Config, scenario: str, arm: str, graph: Graph
) -> None:
    """Log the arm's final network to its run and register it as ``name``, with the arm as its alias.

    A file's content (bytes; base64 in JSON) in, the predicted class and every class's probability out. Preprocessing
    and class names go with it. Nothing is done if the run has this very model. ``graph``: the scenario's.
    """
    state = results.final_dir(config, scenario, arm) / "state.pt"
    code = [SERVED, *(PACKAGE / path for path in CARRIED)]
    content = hashlib.sha256(b"".join(path.read_bytes() for path in (state, *code))).hexdigest()
    if client.get_run(run_id).data.tags.get(MODEL) == content:
        return
    with tempfile.TemporaryDirectory() as folder:
        found = _log(Path(folder), run_id, name, config, scenario, arm, graph)
    client.set_registered_model_alias(name, arm, found)
    client.update_registered_model(
        name,
        f"The final networks of {scenario}, an alias for each arm. "
        f"`mlflow models serve -m models:/{name}@hitl --env-manager local` answers image files: "
        '`{"dataframe_records": [{"image": "<base64 of a JPEG or PNG file>"}]}` to `/invocations`.',
    )
    client.set_tag(run_id, MODEL, content)


def _log(folder: Path, run_id: str, registered: str, config: Config, scenario: str, arm: str, graph: Graph) -> str:
    """The version of the registered model."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    from pipeline.data import prepared
    from pipeline.training import trainer

    dataset = config.datasets[config.scenario(scenario).dataset]
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    settings = {"classes": data.classes, "size": dataset.size, "fit": getattr(dataset, "fit", "stretch")}
    for path in CARRIED:
        (folder / "pipeline" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / path, folder / "pipeline" / path)
    answer = {"prediction": data.classes[0], "probabilities": dict.fromkeys(data.classes, 0.5)}
    example = pd.DataFrame({"image": [_png(data.images[0])]})
    state = trainer.restore(results.final_dir(config, scenario, arm) / "state.pt", config.scenario(scenario).train)
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name=f"{arm}-{scenario}",
            python_model=str(SERVED),
            artifacts={"network": str(graph.write(state.model, data.images[:2], folder / "network.pt2"))},
            code_paths=[str(folder / "pipeline")],
            model_config=settings,
            metadata=settings,
            signature=infer_signature(example, [answer]),
            input_example=example,
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in ("torch", "numpy", "pillow")],
            registered_model_name=registered,
        )
    return str(logged.registered_model_version)


class Graph:
    """A network as a graph and weights; traced once, since a scenario's arms differ by their weights alone."""

    _traced: ExportedProgram | None = None

    def write(self, model: Classifier, pictures: NDArray[np.uint8], path: Path) -> Path:
        """Write the graph with this model's weights, for any number of pictures like these (B, S, S, 3)."""
        import torch

        from pipeline.models.classifier import Deployed

        network = Deployed(model).cpu().eval()
        network = network.to(memory_format=torch.contiguous_format)  # what the archive stores without a warning
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


def _png(pixels: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
