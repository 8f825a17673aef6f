"""The annotation backend starts at once: its modules import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

EXCHANGE = ["records", "geometry", "regions", "tasks", "effects", "ledger"]
READING = ["consensus", "agreement", "verdicts"]
HEAVY = ["torch", "pipeline", "mlflow", "dvc", "label_studio_sdk", "label_studio", "requests", "httpx", "pandas"]


@pytest.mark.parametrize(
    "module", [*(f"exchange.{name}" for name in EXCHANGE), *(f"reading.{name}" for name in READING)]
)
def test_these_modules_import_nothing_heavy(module):
    program = f"import sys, labelstudio.{module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
