"""Backbones: weights from exactly one source, which no other source replaces."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.config import Backbone
from pipeline.errors import ConfigError
from pipeline.models import backbones


@pytest.fixture(scope="module")
def lite0():
    return backbones.pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed=0)


def test_the_package_holds_imagenet_weights_for_every_layer(lite0):
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    assert set(lite0["weights"]) == set(network.state_dict())
    # Trained BatchNorm statistics, not those of a fresh network.
    assert not torch.allclose(lite0["weights"]["bn1.running_var"], torch.ones(32))


@pytest.mark.parametrize(
    ("backbone", "says"),
    [
        (Backbone(architecture="efficientnet_lite0", weights="package"), "tf_efficientnet_lite0 only"),
        (Backbone(architecture="no_such_net", weights="random"), "timm has no architecture 'no_such_net'"),
        (Backbone(architecture="tf_efficientnet_lite0", weights="file", file="nowhere.pt"), "or choose among"),
    ],
)
def test_a_source_that_cannot_be_had_stops_and_nothing_takes_its_place(backbone, says):
    with pytest.raises(ConfigError, match=says):
        backbones.pretrained("x", backbone, seed=0)


def test_weights_of_another_network_are_refused(tmp_path, lite0):
    path = tmp_path / "weights.pt"
    torch.save(lite0["weights"], path)
    found = backbones.pretrained(
        "x", Backbone(architecture="tf_efficientnet_lite0", weights="file", file=str(path)), seed=0
    )
    assert torch.equal(found["weights"]["conv_stem.weight"], lite0["weights"]["conv_stem.weight"])
    with pytest.raises(ConfigError, match="resnet18"):
        backbones.pretrained("x", Backbone(architecture="resnet18", weights="file", file=str(path)), seed=0)


def test_random_weights_follow_the_seed():
    backbone = Backbone(architecture="resnet18", weights="random")
    one, same, other = (backbones.pretrained("x", backbone, seed)["weights"]["conv1.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_small_network_is_known_by_its_name():
    network = backbones.create("lookaway_cnn", 10)
    assert network(torch.zeros(2, 3, 28, 28)).shape == (2, 10)


@pytest.fixture
def hub(tmp_path):
    """A hub of this machine's own that holds one network's weights, as huggingface_hub asks for them."""
    network = timm.create_model("tf_efficientnet_b0.aa_in1k", num_classes=1000)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def answer(self):
            found = self.path == "/timm/tf_efficientnet_b0.aa_in1k/resolve/main/model.safetensors"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.send_header("ETag", '"weights"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if found and self.command == "GET":
                self.wfile.write(content)

        do_GET = do_HEAD = answer

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", network.state_dict()["conv_stem.weight"]
        server.shutdown()


@pytest.mark.slow
def test_the_hub_is_asked_and_what_it_has_not_got_is_an_error(hub, tmp_path):
    url, stem = hub
    code = """
import sys, torch
from pipeline.models import backbones
from pipeline.config import Backbone
from pipeline.errors import ConfigError
found = backbones.pretrained("b", Backbone(architecture="tf_efficientnet_b0.aa_in1k", weights="hub"), seed=0)
torch.save(found["weights"]["conv_stem.weight"], sys.argv[1])
try:
    backbones.pretrained("b", Backbone(architecture="tf_efficientnet_b1.aa_in1k", weights="hub"), seed=0)
except ConfigError as error:
    print(error)
"""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        **{"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"},
        **{"TORCH_HOME": str(tmp_path / "torch"), "HF_HUB_OFFLINE": "0"},
    }

    command = [sys.executable, "-c", code, str(tmp_path / "stem.pt")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "stem.pt"), stem)
    assert "backbones.b: no weights for 'tf_efficientnet_b1.aa_in1k' from `weights: hub`" in done.stdout
    assert "or choose among `weights: package`" in done.stdout
