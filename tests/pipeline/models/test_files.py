"""State files: the same content is the same bytes, and a kill leaves no half file."""

import pytest
import torch
from fakes import small

from pipeline.errors import DamagedFileError
from pipeline.models import classifier, files
from pipeline.training import states


def test_stored_files_are_the_same_bytes_and_never_half_a_file(tmp_path):
    document = {"architecture": "x", "weights": {"w": torch.arange(10_000.0)}, "epoch": 3}
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    files.write(document, one)
    files.write(document, two)
    assert one.read_bytes() == two.read_bytes()
    again = files.read(one)
    assert again["epoch"] == 3
    assert torch.equal(again["weights"]["w"], document["weights"]["w"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pt", "two.pt"]
    one.write_bytes(two.read_bytes()[:1000])
    with pytest.raises(DamagedFileError, match=r"one\.pt is damaged.*dvc repro"):
        files.read(one)
    with pytest.raises(DamagedFileError, match=r"nowhere\.pt is missing.*dvc repro"):
        files.read(tmp_path / "nowhere.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": None},
        {"classes": 7},
        {"weights": {}},
        {"weights": [1, 2]},
        {"optimizer": {}},
        {"epoch": "x"},
    ],
)
def test_a_state_with_other_content_is_named(tmp_path, change):
    document = states.document(states.begin(small.network(["a", "b"]), small.TRAIN))
    files.write({**document, **change}, tmp_path / "state.pt")
    with pytest.raises(DamagedFileError, match=r"cannot read .*state\.pt"):
        states.restore(tmp_path / "state.pt", small.TRAIN)
    if not {"optimizer", "epoch", "classes"} & set(change):
        with pytest.raises(DamagedFileError, match=r"cannot read .*state\.pt"):
            classifier.initial(str(tmp_path / "state.pt"), ["a", "b"], 32)
