"""The sources: each official layout as it is downloaded, and each mistake in it named with its rows."""

import shutil

import numpy as np
import pandas as pd
import pytest
from fakes.checkout import SHARED
from PIL import Image
from pydantic import TypeAdapter

from pipeline.config import Dataset
from pipeline.errors import ConfigError
from pipeline.sources import aptos2019, nci, originals, registry


def read(root, source, **settings):
    document = {"source": source, "root": str(root), "size": 32, **settings}
    return registry.read(TypeAdapter(Dataset).validate_python(document))


def draw(path, seed=0, width=40, height=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def labels(found):
    return {row.name: row.label for row in found.rows}


def edit(csv, change):
    """Change a table on disk; ``change`` gets it as text cells."""
    table = pd.read_csv(csv, dtype=str)
    change(table).to_csv(csv, index=False)


# --- isic2017 ---


@pytest.fixture
def isic(tmp_path):
    """The challenge's layout with a few small pictures; CSV order is not file order."""
    for part, count in (("Training", 6), ("Validation", 3), ("Test_v2", 3)):
        rows = []
        for n in reversed(range(count)):
            name = f"ISIC_{part[:2]}{n}"
            draw(tmp_path / f"ISIC-2017_{part}_Data" / f"{name}.jpg", seed=n)
            if part != "Test_v2":
                lesion = np.zeros((30, 40), np.uint8)
                lesion[:15] = 255
                path = tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth" / f"{name}_segmentation.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(lesion).save(path)
            kind = n % 3
            rows.append({"image_id": name, "melanoma": float(kind == 1), "seborrheic_keratosis": float(kind == 2)})
        pd.DataFrame(rows).to_csv(tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv", index=False)
    return tmp_path


def test_isic_labels_go_by_id_and_lesions_are_the_evidence(isic):
    found = read(isic, "isic2017")
    assert labels(found)["ISIC_Tr1"] == "melanoma"
    assert labels(found)["ISIC_Tr2"] == "benign"
    assert pd.Series([row.split for row in found.rows]).value_counts().to_dict() == {"train": 6, "val": 3, "test": 3}
    items = {item.name: item for item in originals.items(found, 16, "stretch")}
    assert items["ISIC_Tr0"].evidence[:7].all()
    assert not items["ISIC_Tr0"].evidence[9:].any()
    assert items["ISIC_Te0"].evidence is None


def test_isic_reads_the_classes_that_params_name(isic):
    keratosis = read(isic, "isic2017", classes="seborrheic-keratosis")
    assert labels(keratosis)["ISIC_Tr2"] == "seborrheic-keratosis"
    assert labels(keratosis)["ISIC_Tr1"] == "other"
    pair = read(isic, "isic2017", classes="melanoma-or-seborrheic-keratosis")
    assert set(labels(pair)) == {
        f"ISIC_{part}{n}" for part, ns in (("Tr", (1, 2, 4, 5)), ("Va", (1, 2)), ("Te", (1, 2))) for n in ns
    }
    assert labels(pair)["ISIC_Tr2"] == "seborrheic-keratosis"


def test_isic_leaves_out_what_has_no_counterpart_and_says_so(isic, capsys):
    (isic / "ISIC-2017_Test_v2_Data" / "ISIC_Te0.jpg").unlink()
    draw(isic / "ISIC-2017_Training_Data" / "ISIC_stranger.jpg")
    Image.new("L", (4, 4)).save(isic / "ISIC-2017_Training_Part1_GroundTruth" / "ISIC_ghost_segmentation.png")
    found = read(isic, "isic2017")
    assert len(found.rows) == 11
    said = capsys.readouterr().out
    assert "1 ids of" in said
    assert "ISIC_Te0" in said
    assert "1 images have no label" in said
    assert "ISIC_stranger" in said
    assert "1 masks of" in said
    assert "ISIC_ghost" in said


def csv_of(part, folder):
    return folder / f"ISIC-2017_{part}_Part3_GroundTruth.csv"


ISIC_MISTAKES = {
    "no csv": (lambda f: csv_of("Training", f).unlink(), r"Training_Part3_GroundTruth\.csv is missing; download"),
    "no folder": (lambda f: shutil.rmtree(f / "ISIC-2017_Validation_Data"), r"Validation_Data is missing; download"),
    "no column": (
        lambda f: edit(csv_of("Training", f), lambda t: t.drop(columns="melanoma")),
        r"no column 'melanoma'; it has 'image_id', 'seborrheic_keratosis'",
    ),
    "no rows": (lambda f: edit(csv_of("Training", f), lambda t: t[:0]), "has no rows"),
    "unknown label": (
        lambda f: edit(csv_of("Training", f), lambda t: t.assign(melanoma=["2", "x", *t["melanoma"][2:]])),
        r"2 values of 'melanoma' are not one of 0, 1:\n  ISIC_Tr5: '2'\n  ISIC_Tr4: 'x'",
    ),
    "contradiction": (
        lambda f: edit(
            csv_of("Training", f), lambda t: pd.concat([t, t[:1].assign(melanoma="1", seborrheic_keratosis="0")])
        ),
        r"1 ids have contradicting labels.*\n  ISIC_Tr5",
    ),
    "both kinds": (
        lambda f: edit(csv_of("Training", f), lambda t: t.assign(melanoma="1", seborrheic_keratosis="1")),
        "6 images are both kinds",
    ),
    "other images": (
        lambda f: edit(csv_of("Test_v2", f), lambda t: t.assign(image_id=["a", "b", "c"])),
        "none of the 3 ids .* has an image",
    ),
}


@pytest.mark.parametrize("mistake", ISIC_MISTAKES)
def test_isic_says_what_is_wrong(isic, mistake):
    make, says = ISIC_MISTAKES[mistake]
    make(isic)
    with pytest.raises(ConfigError, match=says):
        read(isic, "isic2017")


# --- aptos2019 ---


@pytest.fixture
def aptos(tmp_path):
    rows = []
    for n in range(10):
        fundus = np.zeros((60, 80, 3), np.uint8)
        y, x = np.mgrid[:60, :80]
        fundus[(y - 30) ** 2 + (x - 40) ** 2 < 25**2] = (180 - n, 80, 40)
        (tmp_path / "train_images").mkdir(exist_ok=True)
        Image.fromarray(fundus).save(tmp_path / "train_images" / f"eye{n}.png")
        rows.append({"id_code": f"eye{n}", "diagnosis": n % 5})
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "train.csv", index=False)
    lesions = np.zeros((60, 80), np.uint8)
    lesions[25:35, 35:45] = 255
    (tmp_path / "lesions").mkdir()
    Image.fromarray(lesions).save(tmp_path / "lesions" / "eye3.png")
    return tmp_path


def test_aptos_evidence_is_a_mask_where_there_is_one_and_else_the_fundus(aptos):
    found = read(aptos, "aptos2019", masks="lesions")
    assert found.classes == ["0", "1", "2", "3", "4"]
    assert labels(found)["eye7"] == "2"
    assert {row.split for row in found.rows} == {None}
    evidence = {item.name: item.evidence for item in originals.items(found, 80, "stretch")}
    assert evidence["eye3"].mean() == pytest.approx(100 / 4800, rel=0.2)
    assert evidence["eye4"].mean() == pytest.approx(np.pi * 25**2 / 4800, rel=0.1)
    assert not evidence["eye4"][:8].any()


def test_a_picture_without_a_fundus_is_all_evidence():
    assert aptos2019.disc(np.zeros((40, 40, 3), np.uint8)).all()
    spot = np.zeros((40, 40, 3), np.uint8)
    spot[3:9, 3:9] = 200
    assert aptos2019.disc(spot).all()


def test_aptos_says_what_is_wrong(aptos, tmp_path):
    with pytest.raises(ConfigError, match="leads out of the data folder"):
        read(aptos, "aptos2019", masks="../elsewhere")
    edit(aptos / "train.csv", lambda t: t.assign(diagnosis=["5", "1.5", *t["diagnosis"][2:]]))
    with pytest.raises(ConfigError, match=r"2 values of 'diagnosis'.*\n  eye9: '5'\n  eye8: '1\.5'"):
        read(aptos, "aptos2019")
    shutil.rmtree(aptos / "train_images")
    with pytest.raises(ConfigError, match=r"kaggle"):
        read(aptos.parent / "nowhere", "aptos2019")


# --- nci ---


def nci_folder(folder, suffix):
    rows = []
    for n in range(8):
        draw(folder / f"box{n % 2}" / f"{100 + n}_C1.jpg", seed=n)
        rows.append({"IMAGE_ID": f"{100 + n}", "WRST_HIST_AFTER": [-2, 0, 1, 3][n % 4], "PATIENT": f"p{n // 2}"})
    table = pd.DataFrame([*rows, {"IMAGE_ID": "108", "WRST_HIST_AFTER": None, "PATIENT": "p9"}])
    table.to_csv(folder / "covariates.csv", index=False) if suffix == "csv" else table.to_excel(
        folder / "covariates.xlsx", index=False
    )
    return folder


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_nci_reads_its_table_and_groups_by_patient(tmp_path, suffix, capsys):
    found = read(nci_folder(tmp_path, suffix), "nci", covariates=f"covariates.{suffix}", patient="PATIENT")
    assert labels(found) == {f"{100 + n}": "01"[n % 4 >= 2] for n in range(8)}
    assert {row.group for row in found.rows if row.name in ("100", "101")} == {"p0"}
    assert found.held_out == 0.25
    assert "1 rows" in capsys.readouterr().out


def test_nci_evidence_is_the_centre():
    evidence = nci.centre(np.zeros((80, 80, 3), np.uint8))
    assert evidence[40, 40]
    assert not evidence[0].any()
    radius = np.sqrt(evidence.sum() / np.pi)
    assert radius == pytest.approx(80 * 0.25 * np.sqrt(2 * np.log(2)), rel=0.02)


def test_nci_says_what_is_wrong(tmp_path):
    folder = nci_folder(tmp_path, "csv")
    with pytest.raises(ConfigError, match=r"no column 'WOMAN'; it has 'IMAGE_ID'"):
        read(folder, "nci", covariates="covariates.csv", patient="WOMAN")
    with pytest.raises(ConfigError, match=r"none\.xlsx is missing; ask the NCI"):
        read(folder, "nci", covariates="none.xlsx")
    edit(folder / "covariates.csv", lambda t: t.assign(WRST_HIST_AFTER=["CIN2", *t["WRST_HIST_AFTER"][1:]]))
    with pytest.raises(ConfigError, match=r"not a whole number:\n  100: 'CIN2'"):
        read(folder, "nci", covariates="covariates.csv")


# --- folder ---


@pytest.fixture
def own(tmp_path):
    """A table with every column, under names of the user's own."""
    rows = []
    for n in range(6):
        draw(tmp_path / "scans" / f"{n:03}.png", seed=n)
        Image.new("L", (4, 3), 255).save(tmp_path / f"where{n}.png")
        image = f"scans/{n:03}.png" if n % 2 else f"{n:03}"  # a path, or a name: leading zeros matter
        rows.append(
            {
                "file": image,
                "finding": "ab"[n % 2],
                "part": ["train", "Val", "test"][n // 2],
                "who": f"p{n // 2}",
                "where": f"where{n}.png",
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "findings.csv", index=False)
    return tmp_path


COLUMNS = {"image": "file", "label": "finding", "split": "part", "group": "who", "mask": "where"}


def read_own(root):
    return read(root, "folder", table="findings.csv", columns=COLUMNS)


def test_a_class_may_be_called_none(own):
    text = (own / "findings.csv").read_text().replace(",a,", ",None,").replace(",b,", ",NA,")
    (own / "findings.csv").write_text(text)
    assert read_own(own).classes == ["NA", "None"]


def test_any_table_will_do(own):
    found = read_own(own)
    assert found.classes == ["a", "b"]
    assert [row.split for row in found.rows] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert [row.path.name for row in found.rows] == [f"{n:03}.png" for n in range(6)]
    assert [row.group for row in found.rows] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert all(row.mask.is_file() for row in found.rows)
    bare = read(own, "folder", table="findings.csv", columns={"image": "file", "label": "finding"})
    assert {(row.split, row.group, row.mask) for row in bare.rows} == {(None, None, None)}


def in_own(**columns):
    return lambda folder: edit(folder / "findings.csv", lambda t: t.assign(**{k: v(t) for k, v in columns.items()}))


def first(value):
    return lambda column: lambda t: [value, *t[column][1:]]


OWN_MISTAKES = {
    "a blank label": (in_own(finding=first(None)("finding")), r"1 rows have no label:\n  row 2"),
    "an unknown split": (in_own(part=first("holdout")("part")), r"not train, val or test:\n  000: 'holdout'"),
    "a path outside": (
        in_own(file=first("../secret.png")("file")),
        r"outside of the data folder.*\n  \.\./secret\.png",
    ),
    "a mask outside": (in_own(where=first("/etc/passwd")("where")), "leads out of the data folder"),
    "a missing mask": (in_own(where=first("gone.png")("where")), r"1 masks that are not there:\n  000: .*gone\.png"),
    "another image's mask": (
        in_own(where=first("where1.png")("where")),
        r"given to several images.*\n  where1\.png: 000, scans",
    ),
    "one class": (in_own(finding=lambda t: "a"), "one class only, 'a'"),
    "two files of one name": (lambda f: draw(f / "other" / "000.png"), r"1 names fit several files"),
}


@pytest.mark.parametrize("mistake", OWN_MISTAKES)
def test_a_table_says_what_is_wrong_with_it(own, mistake):
    make, says = OWN_MISTAKES[mistake]
    make(own)
    with pytest.raises(ConfigError, match=says):
        read_own(own)


def test_a_link_out_of_the_folder_is_refused(own, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.png"
    draw(elsewhere)
    (own / "scans" / "link.png").symlink_to(elsewhere)
    in_own(file=first("scans/link.png")("file"))(own)
    with pytest.raises(ConfigError, match="outside of the data folder"):
        read_own(own)


def test_folders_named_after_classes_with_and_without_splits(tmp_path):
    for n, name in enumerate(("cat", "dog", "cat", "dog")):
        draw(tmp_path / "flat" / name / f"{n}.jpg", seed=n)
        for split in ("train", "valid", "test"):
            draw(tmp_path / "split" / split / name / f"{n}.png", seed=n)
    (tmp_path / "flat" / "cat" / "notes.txt").write_text("no image")
    flat, split = read(tmp_path / "flat", "folder"), read(tmp_path / "split", "folder")
    assert labels(flat) == {"cat/0.jpg": "cat", "cat/2.jpg": "cat", "dog/1.jpg": "dog", "dog/3.jpg": "dog"}
    assert {row.split for row in flat.rows} == {None}
    assert {row.split for row in split.rows} == {"train", "val", "test"}
    assert {row.label for row in split.rows} == {"cat", "dog"}
    with pytest.raises(ConfigError, match="no images in folders named after classes"):
        read(tmp_path / "flat" / "cat", "folder")
    with pytest.raises(ConfigError, match="is missing; put the images there"):
        read(tmp_path / "nowhere", "folder")


# --- the real images, where they are ---

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images in ../shared/data")


@needs_shared
def test_the_real_isic2017_is_read_whole():
    found = read(SHARED / "isic2017", "isic2017")
    counts = pd.Series([row.split for row in found.rows]).value_counts()
    assert counts.to_dict() == {"train": 2000, "val": 150, "test": 300}
    assert sum(row.label == "melanoma" for row in found.rows if row.split == "train") == 374
    assert sum(row.mask is not None for row in found.rows) == 2150


@needs_shared
def test_real_fundus_photographs_are_read_whole_and_their_disc_is_found():
    found = read(SHARED / "idrid-in-aptos2019-layout", "aptos2019", masks="evidence_masks")
    assert len(found.rows) == 516
    some = originals.Originals(found.classes, [row for row in found.rows if row.mask is None][:12], aptos2019.disc)
    areas = [item.evidence.mean() for item in originals.items(some, 96, "stretch")]
    assert all(0.4 < area < 0.95 for area in areas)
