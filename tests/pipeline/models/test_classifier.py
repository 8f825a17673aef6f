"""Networks: weights from exactly one source, a head that starts ignorant, states that survive a kill."""

import math
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
from pipeline.feedback.penalty import assert_alive, penalty
from pipeline.models import classifier

CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def lite0():
    return classifier.pretrained("lite0", Backbone(architecture="tf_efficientnet_lite0", weights="package"), seed=0)


def test_the_package_holds_imagenet_weights_for_every_layer(lite0):
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    assert set(lite0["weights"]) == set(network.state_dict())
    # Trained BatchNorm statistics, not those of a fresh network.
    assert not torch.allclose(lite0["weights"]["bn1.running_var"], torch.ones(32))


def test_the_first_loss_is_that_of_a_network_that_knows_nothing(lite0):
    for classes in (["no", "yes"], CLASSES):
        torch.manual_seed(0)
        network = classifier.build(lite0, classes).eval()
        x = network.normalise(torch.rand(16, 3, 64, 64))
        loss = torch.nn.functional.cross_entropy(network(x), torch.arange(16) % len(classes))
        assert float(loss.detach()) == pytest.approx(math.log(len(classes)), rel=0.1)


def test_preprocessing_is_the_backbones_own(lite0):
    network = classifier.build(lite0, CLASSES)
    config = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    white = network.normalise(torch.ones(1, 3, 1, 1)).flatten().tolist()
    assert white == pytest.approx([(1 - m) / s for m, s in zip(config.mean, config.std, strict=True)])


def test_a_trained_head_is_kept_for_the_same_classes_and_replaced_for_others(lite0):
    trained = classifier.build(lite0, CLASSES)
    stored = {
        "architecture": trained.architecture,
        "classes": CLASSES,
        "weights": trained.network.state_dict(),
    }
    same = classifier.build(stored, CLASSES)
    assert torch.equal(same.network.classifier.weight, trained.network.classifier.weight)
    other = classifier.build(stored, CLASSES[::-1])
    assert not torch.equal(other.network.classifier.weight, trained.network.classifier.weight)
    assert torch.equal(other.network.conv_stem.weight, trained.network.conv_stem.weight)


@pytest.mark.parametrize(
    ("backbone", "says"),
    [
        (Backbone(architecture="efficientnet_lite0", weights="package"), "tf_efficientnet_lite0 only"),
        (Backbone(architecture="no_such_net", weights="random"), "timm has no architecture 'no_such_net'"),
        (Backbone(architecture="tf_efficientnet_lite0", weights="file", file="nowhere.pt"), "Other sources"),
    ],
)
def test_a_source_that_cannot_be_had_stops_and_nothing_takes_its_place(backbone, says):
    with pytest.raises(ConfigError, match=says):
        classifier.pretrained("x", backbone, seed=0)


def test_weights_of_another_network_are_refused(tmp_path, lite0):
    path = tmp_path / "weights.pt"
    torch.save(lite0["weights"], path)
    found = classifier.pretrained(
        "x", Backbone(architecture="tf_efficientnet_lite0", weights="file", file=str(path)), seed=0
    )
    assert torch.equal(found["weights"]["conv_stem.weight"], lite0["weights"]["conv_stem.weight"])
    with pytest.raises(ConfigError, match="resnet18"):
        classifier.pretrained("x", Backbone(architecture="resnet18", weights="file", file=str(path)), seed=0)


def test_random_weights_follow_the_seed():
    backbone = Backbone(architecture="resnet18", weights="random")
    one, same, other = (classifier.pretrained("x", backbone, seed)["weights"]["conv1.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_stored_files_are_the_same_bytes_and_never_half_a_file(tmp_path, lite0):
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    classifier.write(lite0, one)
    classifier.write(lite0, two)
    assert one.read_bytes() == two.read_bytes()
    one.write_bytes(two.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"one\.pt.*dvc repro"):
        classifier.read(one)
    with pytest.raises(ConfigError, match="nowhere"):
        classifier.read(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("architecture", ["tf_efficientnet_b0.aa_in1k", "tf_efficientnet_b1.aa_in1k"])
def test_the_papers_backbones_train_under_its_penalty(architecture):
    torch.manual_seed(0)
    stored = classifier.pretrained("b", Backbone(architecture=architecture, weights="random"), seed=0)
    network = classifier.build(stored, ["benign", "melanoma"])
    x = network.normalise(torch.rand(2, 3, 64, 64))
    w = torch.zeros(2, 64, 64)
    w[:, :8, :8] = 1
    term = penalty(network, x, w, "eq2-mean", "logits")
    assert term.shape == (2,)
    assert assert_alive(network, term.sum()) > 0


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


def test_the_hub_is_asked_and_what_it_has_not_got_is_an_error(hub, tmp_path):
    url, stem = hub
    code = """
import sys, torch
from pipeline import model
from pipeline.config import Backbone
from pipeline.errors import ConfigError
try:
    found = model.pretrained("b", Backbone(architecture=sys.argv[1], weights="hub"), seed=0)
except ConfigError as error:
    sys.exit(f"error: {error}")
torch.save(found["weights"]["conv_stem.weight"], sys.argv[2])
"""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        **{"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"},
        **{"TORCH_HOME": str(tmp_path / "torch"), "HF_HUB_OFFLINE": "0"},
    }

    def fetch(architecture):
        command = [sys.executable, "-c", code, architecture, str(tmp_path / "stem.pt")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    done = fetch("tf_efficientnet_b0.aa_in1k")
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "stem.pt"), stem)
    done = fetch("tf_efficientnet_b1.aa_in1k")
    assert done.returncode == 1
    assert "backbones.b: cannot get weights for 'tf_efficientnet_b1.aa_in1k' from `hub`" in done.stderr
    assert "Other sources" in done.stderr
