"""The annotated set: answers and masks under pseudonyms, and a description that leads to each of their fields."""

import hashlib
import json
import re

import numpy as np
import pytest
from fakes.data_set import prepare_data_set
from PIL import Image

from labelstudio.exchange import regions
from labelstudio.exchange.records import Answer, Manifest, Proposal, Query, write_answers
from pipeline.config import load
from pipeline.feedback import masks
from pipeline.paths import annotated_dir, prepared_dir, step_dir
from pipeline.report import annotated

SCENARIO, SIZE = "decoy-digits-20pct", 16
EXPERTS = ["zoe@example.org", "ann@example.org"]


@pytest.fixture
def config():
    loaded = load()
    rounds = [entry for entry in loaded.hitl.rounds if entry.n in ("00", "01")]
    return loaded.model_copy(update={"hitl": loaded.hitl.model_copy(update={"rounds": rounds, "last": "01"})})


def query(image_id):
    cells = tuple(Proposal(f"cell-{x}", x, 0, 8, 8, 0.5) for x in (0, 8))
    return Query(image_id, f"images/{image_id}.png", image_id, SIZE, SIZE, "a", "b", {"a": 0.5, "b": 0.5}, 1.0, cells)


def answer(one, expert, result, number, **more):
    times = {"created_at": "2026-11-30T07:41:00Z", "updated_at": "2026-11-30T07:42:00Z"}
    return Answer(one.key(SCENARIO), one.image_id, expert, number, lead_time=3.5, skipped=False, parent_prediction=1,
                  result=result, account=7, **times, **more)  # fmt: skip


@pytest.fixture
def written(config, tmp_path, monkeypatch):
    """The annotated set of two rounds: three answers of two experts, and a skip."""
    monkeypatch.chdir(tmp_path)
    prepare_data_set(prepared_dir("decoy-digits"))
    entries = []
    for n, image_id in (("00", "i0"), ("01", "i2")):
        one, folder = query(image_id), step_dir(SCENARIO, n)
        folder.mkdir(parents=True)
        Manifest(SCENARIO, n, (one,)).write(folder / "queries.json")
        marked = regions.relabelled(regions.to_result(one), ["cell-0"], regions.DISREGARD)
        comment = {"type": "textarea", "from_name": "note", "value": {"text": ["like Mr Quillfeather's"]}}
        marked = [{**entry, "meta": {"text": ["Quillfeather"]}} for entry in marked]
        given = [answer(one, EXPERTS[0], [*marked, comment, "damaged"], 1)]
        if n == "01":
            given += [answer(one, EXPERTS[1], [regions.choice(regions.NOTHING)], 2)]
            given += [Answer(one.key(SCENARIO), image_id, EXPERTS[1], 3, "2026-11-30T07:41:00Z", "2026-11-30T07:41:00Z",
                             1.0, True, None)]  # fmt: skip
        write_answers(folder / "answers.json", given)
        mask = np.zeros((SIZE, SIZE), np.float32)
        mask[:8, :8] = 1
        entries.append(masks.Entry.of(n, image_id, mask, np.ones((SIZE, SIZE), bool)))
        entries.append(masks.Entry.of(n, "i4", mask, mask > 0, kind="spread"))
        masks.write(folder / "masks.npz", entries)
    return annotated.write(config, SCENARIO)


def lines():
    return json.loads((annotated_dir(SCENARIO) / "answers.json").read_text())


def test_answers_and_masks_are_there_under_pseudonyms(written):
    assert written == annotated.Numbers(answers=3, experts=2, queries=2, marked=2, area=0.25)
    assert [(a["round"], a["image"], a["expert"], a["verdict"], a["seconds"]) for a in lines()] == [
        ("00", "i0", 2, "marked", 3.5), ("01", "i2", 1, "nothing to disregard", 3.5), ("01", "i2", 2, "marked", 3.5)
    ]  # fmt: skip
    marks = [r["id"] for r in lines()[0]["regions"] if regions.DISREGARD in r["value"].get("labels", [])]
    assert marks == ["cell-0"]
    found = {path.name: np.asarray(Image.open(path)) for path in (annotated_dir(SCENARIO) / "masks").iterdir()}
    assert sorted(found) == ["i0.png", "i2.png"], "no mask that was spread"
    assert (found["i0.png"][:8, :8] == 255).all()
    assert found["i0.png"].sum() == 64 * 255


def test_nobody_is_named_and_no_time_is_told(written):
    for path in annotated_dir(SCENARIO).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in (b"zoe", b"ann@", b"example.org", b"07:4", b"2026-11", b"Quillfeather", b'"account"'):
                assert secret not in content, path


def test_the_same_answers_give_the_same_bytes(written, config):
    before = {path: path.read_bytes() for path in annotated_dir(SCENARIO).rglob("*") if path.is_file()}
    (annotated_dir(SCENARIO) / "masks" / "stale.png").touch()
    assert annotated.write(config, SCENARIO) == written
    assert {path for path in annotated_dir(SCENARIO).rglob("*") if path.is_file()} == set(before)
    assert {path: path.read_bytes() for path in before} == before


def test_the_description_follows_croissant(written):
    """By https://docs.mlcommons.org/croissant/docs/croissant-spec.html, 1.0."""
    folder = annotated_dir(SCENARIO)
    described = json.loads((folder / "croissant.json").read_text())
    assert described["@type"] == "sc:Dataset"
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert re.fullmatch(r"[\w-]+", described["name"])
    assert (
        "Answers of simulated experts to queries on training images of the data set decoy" in described["description"]
    )
    assert "Answers: 3, experts: 2, queries: 2, images with a mask: 2." in described["description"]
    terms = {*described["@context"], "@context", "@type", "@id", "name", "description", "distribution", "contentUrl"}
    terms |= {"encodingFormat", "sha256"}
    assert used(described) - terms == set(), "each key is a term of the context, or of schema.org"
    file, pictures = described["distribution"]
    assert (file["@type"], pictures["@type"]) == ("cr:FileObject", "cr:FileSet")
    assert file["sha256"] == hashlib.sha256((folder / file["contentUrl"]).read_bytes()).hexdigest()
    assert len(list(folder.glob(pictures["includes"]))) == 2
    known = {part["@id"] for part in described["distribution"]}
    for records in described["recordSet"]:
        assert records["@type"] == "cr:RecordSet"
        for field in records["field"]:
            assert field["@id"] == field["name"]
            assert field["@id"].startswith(f"{records['@id']}/")
            (source,) = (value["@id"] for key, value in field["source"].items() if key in ("fileObject", "fileSet"))
            assert source in known
            if path := field["source"]["extract"].get("jsonPath"):
                kind = {"sc:Text": str, "sc:Integer": int, "sc:Float": float}[field["dataType"]]
                assert all(isinstance(line[path.removeprefix("$[*].")], kind) for line in lines())
    (named,) = (
        f["source"]["transform"]["regex"]
        for r in described["recordSet"]
        for f in r["field"]
        if "transform" in f["source"]
    )
    assert re.match(named, "i0.png")[1] == "i0"


def used(part):
    """All keys, but those of the context."""
    if isinstance(part, list):
        return set().union(*map(used, part))
    if not isinstance(part, dict):
        return set()
    return set(part).union(*(used(value) for key, value in part.items() if key != "@context"))
