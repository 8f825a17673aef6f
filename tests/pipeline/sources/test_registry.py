"""The registry knows every source that params.yaml may name, and starts without heavy libraries."""

import subprocess
import sys
from typing import get_args

from fakes.checkout import ROOT

from pipeline import choices
from pipeline.config import Dataset
from pipeline.sources import decoding, registry


def test_every_source_of_params_has_a_reader():
    kinds = get_args(get_args(Dataset)[0])
    words = {get_args(kind.model_fields["source"].annotation)[0] for kind in kinds}
    assert words == set(registry.READERS)


def test_decoding_which_imports_nothing_of_the_project_knows_the_same_words():
    assert decoding.Fit == choices.Fit


def test_prepare_starts_without_heavy_libraries():
    code = "import sys, pipeline.stages.prepare; print({'torch', 'timm', 'sklearn', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"
