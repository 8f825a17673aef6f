"""Whatever lies in the files that a user or a disk may damage, the end is a result or a message, and no traceback.

`make fuzz` tries 10,000 cases; the ordinary tests try a few of them, always the same.
"""

import io
import json
import os
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import yaml
from fakes import dicom, small
from fakes.checkout import ROOT
from fakes.data_set import prepare_data_set
from fakes.deep_images import png, ramp
from fakes.queries import answer, manifest
from fakes.sources import draw, settings
from fuzz.damage import JSON, altered, damaged
from hypothesis import HealthCheck, event, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from PIL import Image

from labelstudio.exchange import effects, records
from labelstudio.exchange.records import AnnotationError
from pipeline import config
from pipeline.arms import results
from pipeline.config import Consensus
from pipeline.data import prepared, subset
from pipeline.errors import PipelineError
from pipeline.evaluation import predictions, score_files
from pipeline.feedback import masks
from pipeline.feedback.answers import to_entries
from pipeline.models import files
from pipeline.sources import originals, registry
from pipeline.sources.preparing import prepare
from pipeline.sources.source import Original, Originals
from pipeline.training import states

CASES = int(os.environ.get("FUZZ_CASES", "0"))  # of each of the six tests
few = tried(
    max_examples=CASES or 30,
    derandomize=not CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def ends_well(function, *arguments, **more):
    """Call the function; a message to the user is as good as a result."""
    try:
        result = function(*arguments, **more)
    except (PipelineError, AnnotationError):
        event("message")
        return None
    event("result")
    return result


PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
PARAMS["datasets"]["own"] = {
    **{"source": "folder", "root": "x", "size": 64, "table": "t.csv", "columns": {"label": "y"}, "white": 4095},
    **{"mask_values": [1], "classes": ["a", "b"], "held_out": 0.2, "attributes": ["site"]},
}


@few
@given(altered(PARAMS).map(yaml.safe_dump).map(str.encode) | damaged((ROOT / "params.yaml").read_bytes()))
def test_params(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    ends_well(config.load, path)


CELLS = st.sampled_from(
    ["a.png", "b.png", "b", "c/d.png", "C/D.PNG", "..", "/", "", "m.png", "x", "y", "X", "1", "1.0"]
)
CELLS |= st.sampled_from(["train", "Test", "val", "test-", "p1", "P1", "image", "label", "NA", '"', "\n"]) | st.text(
    max_size=4
)
SEPARATORS = st.sampled_from([",", ";", "\t", "|", " "])


@st.composite
def tables(draw_):
    header = draw_(st.permutations(["image", "label", "split", "group", "mask", "site"]))
    header = header[: draw_(st.integers(2, 6))] if draw_(st.integers(0, 9)) else draw_(st.lists(CELLS, max_size=6))
    rows = draw_(st.lists(st.lists(CELLS, min_size=len(header), max_size=len(header) + 1), max_size=6))
    text = "\n".join(
        draw_(SEPARATORS if n == 0 and not rows else st.just(",")).join(row) for n, row in enumerate([header, *rows])
    )
    return text.encode(draw_(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), errors="replace")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A data folder with some images and a mask, and its table as a spreadsheet."""
    root = tmp_path_factory.mktemp("own")
    for n, name in enumerate(("a.png", "b.png", "c/d.png")):
        draw(root / name, seed=n)
    Image.new("L", (40, 30), 255).save(root / "m.png")
    table = pd.DataFrame({"image": ["a", "b", "d"], "label": ["x", "y", "x"], "mask": ["m.png", None, None]})
    table.to_excel(root / "book.xlsx", index=False)
    return root


@few
@given(st.data())
def test_tables(own, tmp_path, data):
    name = data.draw(st.sampled_from(["t.csv", "t.csv", "t.csv", "t.xlsx"]))
    content = damaged((own / "book.xlsx").read_bytes()) if name == "t.xlsx" else tables()
    (own / name).write_bytes(data.draw(content))
    attributes = data.draw(st.sampled_from([[], [], ["site"]]))
    read = settings(own, "folder", table=name, attributes=attributes)
    if found := ends_well(registry.read, read):
        assert all(row.label in found.classes for row in found.rows)
        ends_well(prepare, "own", read, tmp_path / "out")


def pictures():
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    kinds = {
        "JPEG": {"exif": exif}, "PNG": {"exif": exif}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"exif": exif},
        "GIF": {}, "BMP": {}, "PPM": {}, "JPEG2000": {}, "TGA": {}, "ICO": {}, "PCX": {}, "DDS": {},
    }  # fmt: skip
    for kind, more in kinds.items():
        content = io.BytesIO()
        Image.fromarray(noise).save(content, kind, **more)
        yield content.getvalue()
    yield png(ramp(4000))
    yield dicom.content(ramp(4000), WindowCenter=2000, WindowWidth=4000)
    yield dicom.content(noise, preamble=False)
    yield png(np.repeat(ramp(4000)[..., None], 3, axis=2))
    content = io.BytesIO()
    Image.fromarray(ramp(4000)).save(content, "TIFF")
    yield content.getvalue()


PICTURES = list(pictures())


@few
@given(st.sampled_from(PICTURES).flatmap(damaged), st.sampled_from([None, [1]]))
def test_images_and_masks(own, content, mask_values):
    path = own / "damaged"
    path.write_bytes(content)
    rows = [Original("x", path, "a"), Original("y", own / "a.png", "a", mask=path)]
    for row in rows:
        found = Originals(["a"], [row])
        white = originals.white(found, None)
        for fit in ("stretch", "crop"):
            ends_well(list, originals.items(found, 32, fit, white=white, mask_values=mask_values))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Two queries, and an answer to each."""
    queries = manifest(tmp_path_factory.mktemp("queries"), 2)
    return queries, [answer(key, {"c0r0"}, query, number=n) for n, (key, query) in enumerate(queries.keys().items())]


@few
@given(st.data())
def test_answers(asked, tmp_path, data):
    queries, answers = asked
    document = data.draw(altered([asdict(one) for one in answers]) | st.lists(JSON, max_size=2) | JSON)
    text = json.dumps(document).encode()
    path = tmp_path / "answers.json"
    path.write_bytes(data.draw(st.just(text) | damaged(text)))
    rule = data.draw(st.sampled_from(["majority", "any", "all"]))
    ends_well(lambda: to_entries(queries, records.read_answers(path), Consensus(rule=rule)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All files of a run that a later stage reads, each with its reader."""
    folder = tmp_path_factory.mktemp("run")
    prepare_data_set(folder / "data")
    data = prepared.read(folder / "data")
    chosen = subset.choose(data, 1.0, seed=0)
    subset.write(folder / "subset.csv", chosen, data)
    splits = subset.by_split(data, chosen)
    images = predictions.images(splits, data.classes)
    probability = pd.DataFrame({"hitl.prediction": images["label"], "hitl.probability": 0.5})
    predictions.write(folder / "predictions.csv", images, [probability])
    score_files.write(folder / "scores.json", {"hitl": {"test_accuracy": 0.5}})
    effects.write(folder / "effect.json", [effects.Effect("x", "x.png", 0.5, 0.4)])
    manifest(folder, 2).write(folder / "queries.json")
    area = np.ones((8, 8), bool)
    masks.write(
        folder / "masks.npz", [masks.Entry.of("00", "i1", area, area), masks.Entry.of("00", "i2", area * 0.5, area)]
    )
    history = {"step": ["start", "00"], "epoch": [1, 2], "val_loss": [0.5, 0.4], "test_loss": [0.5, 0.4]}
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)

    def unpack(path):
        entries = masks.read(path)
        return [masks.in_force(entries)[i] for i in masks.in_force(entries)], masks.asked(entries)

    def evidence(path):
        read = prepared.read(path.parent)
        return subset.by_split(read, subset.choose(read, 1.0, seed=0)), read.images[:], read.evidence("i1")

    return folder, {
        "data/index.csv": evidence,
        "data/manifest.json": evidence,
        "data/images.npy": evidence,
        "data/evidence.npy": evidence,
        "subset.csv": lambda path: subset.by_split(data, subset.read(path, data)),
        "predictions.csv": predictions.read,
        "scores.json": score_files.read,
        "effect.json": effects.read,
        "queries.json": records.Manifest.read,
        "masks.npz": unpack,
        "history.csv": lambda path: results.summary(results.history(path.parent), "hitl"),
    }


@few
@given(st.data())
def test_state_files(run, data):
    folder, readers = run
    name = data.draw(st.sampled_from(sorted(readers)))
    path = folder / name
    whole = path.read_bytes()
    kinds = damaged(whole)
    if path.suffix == ".json":
        kinds |= altered(json.loads(whole)).map(json.dumps).map(str.encode)
    path.write_bytes(data.draw(kinds))
    try:
        ends_well(readers[name], path)
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "state.pt"
    states.save(states.begin(small.network(["a", "b"]), small.TRAIN), path)
    return path, path.read_bytes(), files.read(path)


@few
@given(st.data())
def test_weights(weights, data):
    path, whole, document = weights
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(whole)))
    else:
        files.write(data.draw(altered(document)), path)
    ends_well(states.restore, path, small.TRAIN)
