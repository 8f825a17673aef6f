"""The code of a registered model: the content of an image file in, its class or findings and the probabilities out.

MLflow keeps this module, the two that decode files, and the network as a graph with weights. To load the model, nothing
is unpickled, and no other module of this project is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline.sources.decoding import WHITE, UnusableError, picture


class Served(PythonModel):
    """A network with the preprocessing of its training images."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the graph: uint8 images (B, S, S, 3) in, probabilities (B, C) out."""
        self.network = torch.export.load(context.artifacts["network"]).module()

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[Any]:
        """Return one answer for each row.

        Args:
            context: The model's files and settings.
            model_input: The column ``image`` has the content of a file in each row: JPEG, PNG or DICOM, of any size.
            params: Not used.

        Raises:
            MlflowException: The content is not a readable image.
        """
        settings = context.model_config
        try:
            white, window = settings.get("white", WHITE), settings.get("window")
            pictures = [
                picture(content, settings["size"], settings["fit"], white, window=window)
                for content in model_input["image"]
            ]
        except UnusableError as error:
            raise MlflowException(f"an image {error}", error_code=INVALID_PARAMETER_VALUE) from error
        with torch.inference_mode():
            probabilities = self.network(torch.from_numpy(np.stack(pictures)))
        found = []
        for row in probabilities:
            of_each = dict(zip(settings["classes"], row.tolist(), strict=True))
            there = [name for name, probability in of_each.items() if probability > 0.5]
            likeliest = settings["classes"][int(row.argmax())]
            found.append(
                {"prediction": "|".join(there) if settings.get("findings") else likeliest, "probabilities": of_each}
            )
        return found


set_model(Served())
