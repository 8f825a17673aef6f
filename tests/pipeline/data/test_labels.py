"""Labels: classes, or findings of which each is there or not."""

import numpy as np
import pandas as pd
import pytest
from fakes import data_set

from pipeline.data import labels, prepared, subset
from pipeline.errors import ConfigError, DamagedFileError

FINDINGS = ["a", "b"]


def test_findings_are_numbers_in_their_order():
    texts = pd.Series(["", "a", "b", "a|b"])
    assert labels.numbers(texts, FINDINGS, findings=True).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert labels.numbers(pd.Series(["b", "a"]), FINDINGS, findings=False).tolist() == [1, 0]
    assert labels.joined({"b", "a"}, FINDINGS) == "a|b"


def test_the_stratum_of_an_image_is_its_rarest_finding():
    texts = pd.Series(["a", "a", "a|b", "", "a"])
    assert labels.strata(texts, findings=True).tolist() == ["a", "a", "b", "", "a"]
    assert labels.strata(texts, findings=False) is texts


@pytest.fixture
def data(tmp_path):
    """64 training images, of which one in four has `a`, one in eight has `b`, and one in sixteen has both."""
    texts = ["a|b", "b", *["a"] * 3, *[""] * 11] * 4
    items = [data_set.item(n, text, "train") for n, text in enumerate(texts)]
    items += [
        data_set.item(100 + n, text, s) for s in ("val", "test") for n, text in enumerate(["a", "b"], 10 * len(s))
    ]
    table = prepared.write_arrays(tmp_path, count=len(items), size=data_set.SIZE, items=iter(items))
    prepared.write_index(tmp_path, name="x", classes=FINDINGS, table=table.assign(id=table["name"]), findings=True)
    return prepared.read(tmp_path)


def test_a_fraction_is_stratified_and_nested(data):
    chosen = {f: subset.images(data, subset.choose(data, f, seed=0), "train") for f in (0.25, 0.5)}
    assert {f: images.labels.sum(dim=0).tolist()[1] for f, images in chosen.items()} == {0.25: 2, 0.5: 4}
    assert set(chosen[0.25].ids) <= set(chosen[0.5].ids)
    assert chosen[0.5].labels.shape == (32, 2)


def test_a_fraction_that_leaves_a_finding_empty_names_it(data):
    with pytest.raises(
        ConfigError, match=r"no training image with the finding b, of which there are 8.*at least 0\.125"
    ):
        subset.choose(data, 0.05, seed=0)


def test_a_chosen_image_without_findings_survives_the_file(data, tmp_path):
    chosen = subset.choose(data, 0.5, seed=0)
    subset.write(tmp_path / "subset.csv", chosen, data)
    kept = subset.read(tmp_path / "subset.csv", data)
    assert kept["label"].tolist() == chosen["label"].tolist()
    assert "" in set(kept["label"])
    assert np.array_equal(subset.whole(data, kept).labels, subset.whole(data, chosen).labels)


def test_a_label_of_unknown_findings_is_damage(data):
    path = data.folder / "index.csv"
    path.write_text(path.read_text().replace("a|b", "a|c"))
    with pytest.raises(DamagedFileError, match="do not fit together"):
        prepared.read(data.folder)
