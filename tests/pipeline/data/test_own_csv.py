"""Our own CSV files: labels, attributes and names survive, whatever they contain."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fakes.data_set import item, prepare_items
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data import own_csv, prepared, subset
from pipeline.evaluation import predictions

TEXT = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["NA", "None", "nan", "#", "01", "1.0", "\r", "a\r\nb", '"', " "]
)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(st.lists(TEXT | st.just(""), min_size=1, max_size=5))
def test_any_text_survives(tmp_path, texts):
    table = pd.DataFrame({"a": texts, "b": texts[::-1]}, dtype=object)
    own_csv.write(tmp_path / "x.csv", table)
    read = own_csv.read(own_csv.text_of(tmp_path / "x.csv"))
    assert read.to_numpy().tolist() == table.to_numpy().tolist()


@FEW
@given(st.lists(TEXT, min_size=2, max_size=2, unique=True), TEXT)
def test_classes_and_attributes_survive_all_files_of_a_run(tmp_path, classes, attribute):
    items = [item(n, classes[n % 2], split) for n, split in enumerate(2 * ["train"] + 2 * ["val"] + 2 * ["test"])]
    items = [
        SimpleNamespace(**{**vars(one), "attributes": {"site": attribute} if n else {}}) for n, one in enumerate(items)
    ]
    prepare_items(tmp_path, classes, items)
    data = prepared.read(tmp_path)
    assert data.index["label"].tolist() == [one.label for one in items]
    assert data.index["site"].isna().tolist() == [True] + 5 * [False]
    assert set(data.index["site"][1:]) == {attribute}

    chosen = subset.choose(data, 1.0, seed=0)
    subset.write(tmp_path / "subset.csv", chosen, data)
    again = subset.read(tmp_path / "subset.csv", data)
    assert again.to_numpy().tolist() == chosen.to_numpy().tolist()
    splits = subset.by_split(data, again)

    right = pd.DataFrame({"hitl.prediction": classes * 2, "hitl.probability": [0.5] * 4})
    predictions.write(tmp_path / "predictions.csv", predictions.images(splits, classes), [right])
    outcomes = predictions.read(tmp_path / "predictions.csv")["hitl"]
    assert all(np.all(one.right) for one in outcomes.values())


def test_equal_bytes_as_pandas_writes_where_nothing_is_odd(tmp_path):
    table = pd.DataFrame({"id": ["a,b", 'c"d', "e"], "row": [1, 2, 3]})
    own_csv.write(tmp_path / "x.csv", table)
    assert (tmp_path / "x.csv").read_text() == table.to_csv(index=False)


def test_a_cache_that_a_file_is_linked_to_is_not_written_to(tmp_path):
    cached = tmp_path / "cache"
    cached.write_text("of DVC")
    (tmp_path / "out").mkdir()
    for name in prepared.FILES:
        (tmp_path / "out" / name).symlink_to(cached)
    items = [item(n, "ab"[n % 2], split) for n, split in enumerate(2 * ["train"] + 2 * ["val"] + 2 * ["test"])]
    prepare_items(tmp_path / "out", ["a", "b"], items)
    assert cached.read_text() == "of DVC"
    assert not any((tmp_path / "out" / name).is_symlink() for name in prepared.FILES)


@pytest.mark.parametrize("label", ["NA", "C#"])
def test_a_class_with_an_odd_name_has_its_images(tmp_path, label):
    items = [item(n, ["a", label][n % 2], s) for n, s in enumerate(2 * ["train"] + 2 * ["val"] + 2 * ["test"])]
    prepare_items(tmp_path, ["a", label], items)
    data = prepared.read(tmp_path)
    subset.write(tmp_path / "subset.csv", subset.choose(data, 1.0, seed=0), data)
    chosen = subset.read(tmp_path / "subset.csv", data)
    assert subset.by_split(data, chosen)["train"].labels.tolist() == [0, 1]
