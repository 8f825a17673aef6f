"""DICOM files in a data set: found under any name, grouped by patient, and nothing of their headers goes further."""

import sys

import numpy as np
import pandas as pd
import pydicom
import pytest
from fakes import dicom as fake
from fakes.sources import draw, labels, read, settings
from pydicom.dataset import Dataset

from pipeline.data import prepared
from pipeline.data.prepared import patient_digest
from pipeline.errors import DataError
from pipeline.sources import decoding
from pipeline.sources.preparing import prepare


def study(root, count=4, name="{}.dcm", **tags):
    """Write ``count`` files, in folders of two classes."""
    for n in range(count):
        own = {tag: value[n] if isinstance(value, list) else value for tag, value in tags.items()}
        fake.write(root / "ab"[n % 2] / name.format(n), seed=n, **own)
    return root


def groups(found):
    return {row.path.stem: row.group for row in found.rows}


def test_files_are_found_by_path_name_and_sop_instance(tmp_path):
    uids = [f"1.2.840.99.{n}" for n in range(4)]
    study(tmp_path, SOPInstanceUID=uids, PatientID=list("PQRS"))
    names = ["a/0.dcm", "1", uids[2], uids[3]]
    pd.DataFrame({"image": names, "label": ["x", "y", "x", "y"]}).to_csv(tmp_path / "table.csv", index=False)
    found = read(tmp_path, "folder", table="table.csv")
    assert [row.path.name for row in found.rows] == ["0.dcm", "1.dcm", "2.dcm", "3.dcm"]
    assert [row.name for row in found.rows] == ["a/0.dcm", "1", "a/2.dcm", "b/3.dcm"], "and never by the UID"


@pytest.mark.parametrize("name", ["IM{}", "{}.png", "1.2.840.113619.2.{}"])
def test_files_are_found_under_any_name_and_beside_others(tmp_path, name):
    study(tmp_path, name=name, PatientID=["P", "P", "Q", "Q"])
    draw(tmp_path / "a" / "photo.jpg")
    draw(tmp_path / "b" / "photo.png", seed=1)
    found = read(tmp_path, "folder")
    assert len(labels(found)) == 6
    assert len({row.group for row in found.rows if row.group}) == 2


def test_files_without_an_image_are_left_out_and_counted(tmp_path, capsys):
    study(tmp_path, PatientID=list("PQRS"))
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.3"
    report.PatientID, report.PatientName = "P", "Quillfeather^Jo"
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    report.save_as(tmp_path / "a" / "letter.dcm", enforce_file_format=True)
    assert len(read(tmp_path, "folder").rows) == 4
    said = capsys.readouterr().out
    assert "1 DICOM files hold no image, and are left out (1 Encapsulated PDF Storage)" in said
    assert "a/letter.dcm" in said
    assert "Quillfeather" not in said
    (tmp_path / "a" / "empty.dcm").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.dcm is empty"):
        prepare("x", settings(tmp_path, "folder"), tmp_path.parent / f"{tmp_path.name}-prepared")


def test_a_patient_makes_a_group_beside_those_of_the_table(tmp_path, capsys):
    study(tmp_path, 8, PatientID=["P1", "p1 ", "Q", "Q", "R", "R", None, "S"])
    draw(tmp_path / "a" / "photo.png")
    found = groups(read(tmp_path, "folder"))
    p, q, r, s = (patient_digest(name) for name in ("P1", "Q", "R", "S"))
    assert found == {"0": p, "1": p, "2": q, "3": q, "4": r, "5": r, "6": None, "7": s, "photo": None}
    said = capsys.readouterr().out
    assert "1 DICOM files have no patient id" in said
    assert "a/6.dcm" in said
    rows = [(0, "lesion-1"), (1, "lesion-2"), (2, "lesion-2"), (3, ""), (4, ""), (6, "lesion-3"), ("photo", "lesion-1")]
    pd.DataFrame([[n, "ab"[i % 2], g] for i, (n, g) in enumerate(rows)], columns=["image", "label", "group"]).to_csv(
        tmp_path / "table.csv", index=False
    )
    found = groups(read(tmp_path, "folder", table="table.csv"))
    assert {found[name] for name in ("0", "1", "2", "3", "photo")} == {
        " + ".join(sorted(["lesion-1", "lesion-2", p, q]))
    }
    assert found["4"] == r
    assert found["6"] == "lesion-3"


def test_one_id_for_all_files_makes_no_group(tmp_path, capsys):
    study(tmp_path, PatientID="ANONYMOUS")
    assert set(groups(read(tmp_path, "folder")).values()) == {None}
    assert "warning: all 4 DICOM files have one patient id" in capsys.readouterr().out


def test_a_patient_in_two_splits_is_named_by_a_file(tmp_path):
    for n, split in enumerate(("train", "val", "test")):
        study(tmp_path / split, PatientID=[f"{split}1", "Quillfeather-7" if n else "x", f"{split}3", f"{split}4"])
    with pytest.raises(
        DataError, match=r"1 groups have .*\n  patient-\w{16}: test, val \(for example test/b/1\.dcm, val/b/1\.dcm\)$"
    ) as error:
        prepare("x", settings(tmp_path, "folder", duplicates="drop"), tmp_path.parent / f"{tmp_path.name}-x")
    assert "Quillfeather" not in str(error.value)


def test_one_sop_instance_in_two_files_is_an_error(tmp_path):
    study(tmp_path, SOPInstanceUID=["1.2.1", "1.2.2", "1.2.3", "1.2.1"], PatientID=list("PQRS"))
    with pytest.raises(DataError, match=r"1 SOP instances occur in several.*\n  .*a/0\.dcm, .*b/3\.dcm"):
        read(tmp_path, "folder")


def test_burnt_in_text_and_windows_are_told(tmp_path, capsys):
    study(
        tmp_path, PatientID=list("PQRS"), BurnedInAnnotation=["YES", "NO", "", ""], Modality=["CT", "US", "US", "MR"],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2", WindowCenter=[[40, 50], 40, 40, 40], WindowWidth=[[80, 9], 80, 0, 80],
    )  # fmt: skip
    read(tmp_path, "folder")
    said = capsys.readouterr().out
    burned, _, rest = said.partition("1 images are of kinds that often have text burnt in (US)")
    assert "warning: 1 images have text burnt in" in burned
    assert "a/0.dcm" in burned
    assert rest
    assert "1 DICOM files have several windows: the first one is used" in rest
    assert "warning: 1 DICOM files have no usable window" in rest
    read(tmp_path, "folder", window={"center": 40, "width": 400})
    said = capsys.readouterr().out
    assert "several windows" not in said
    assert "no usable window" not in said


def test_a_window_that_is_no_number_loses_no_patient(tmp_path, capsys):
    study(tmp_path, PatientID=["P", "P", "Q", "Q"], WindowCenter=1234, WindowWidth=50)
    path = tmp_path / "b" / "1.dcm"
    path.write_bytes(path.read_bytes().replace(b"1234", b"12,4"))
    assert len(set(groups(read(tmp_path, "folder")).values())) == 2
    said = capsys.readouterr().out
    assert "4 DICOM files make 2 groups" in said
    assert "1 DICOM files have no usable window" in said


def test_a_window_of_the_settings_is_served_as_it_was_prepared(tmp_path):
    study(tmp_path / "raw", 40, PatientID=[f"P{n}" for n in range(40)])
    window = {"center": 50, "width": 60}
    prepare("x", settings(tmp_path / "raw", "folder", window=window), tmp_path / "x")
    images = prepared.read(tmp_path / "x").images
    content = (tmp_path / "raw" / "a" / "0.dcm").read_bytes()
    for setting, count in ((window, 1), (None, 0)):
        served = decoding.picture(content, 32, "stretch", window=setting)
        assert sum(np.array_equal(served, image) for image in images) == count


def test_without_pydicom_one_line_and_one_error_say_so(tmp_path, capsys, monkeypatch):
    study(tmp_path / "raw", PatientID=list("PQRS"))
    monkeypatch.delitem(sys.modules, "pipeline.sources.dicom", raising=False)
    monkeypatch.delattr("pipeline.sources.dicom", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"4 files cannot be used.*\n.* is DICOM, and pydicom is not installed; run"):
        prepare("x", settings(tmp_path / "raw", "folder"), tmp_path / "x")
    assert "warning: 4 files are DICOM, and pydicom is not installed" in capsys.readouterr().out


def test_nothing_of_the_header_leaves_prepare(tmp_path, capsys):
    """Neither in a file that it writes, nor on the screen; not even in the table of the originals."""
    written = {
        "PatientName": "Quillfeather^Josephine", "PatientBirthDate": "19430217", "PatientSex": "O",
        "InstitutionName": "St. Swithin's Hospital", "StudyInstanceUID": "1.2.826.0.1.99.4711", "StudyDate": "20190731",
        "StudyTime": "143007", "AccessionNumber": "ACC-90125", "ReferringPhysicianName": "Zwoelfpfennig^Ada",
        "StudyDescription": "follow-up of a naevus",
        "PatientComments": "allergic to penicillin", "StationName": "ROOM-7B",
        "DeviceSerialNumber": "SN-556677", "ProtocolName": "DERM-MACRO-3", "OperatorsName": "Abernathy^Lou",
    }  # fmt: skip
    nested = Dataset()
    nested.PatientID, nested.IssuerOfPatientID = "OTHER-31415", "Ministry of Ears"
    written["OtherPatientIDsSequence"] = pydicom.Sequence([nested])
    ids = [f"MRN-{88000 + n // 2}" for n in range(60)]
    uids = [f"1.2.826.0.1.99.{90210 + n}" for n in range(60)]
    study(tmp_path / "raw", 60, PatientID=ids, SOPInstanceUID=uids, Modality="XC", **written)
    table = {"image": [*uids[:30], *[f"{'ab'[n % 2]}/{n}.dcm" for n in range(30, 60)]], "label": list("xy") * 30}
    pd.DataFrame(table).to_csv(tmp_path / "raw" / "table.csv", index=False)
    _, names = prepare("x", settings(tmp_path / "raw", "folder", table="table.csv"), tmp_path / "out" / "x")
    names.to_csv(tmp_path / "out" / "originals.csv", index=False)
    assert names["group"].nunique() == 30
    index = prepared.read(tmp_path / "out" / "x").index
    assert index.groupby("group")["split"].nunique().tolist() == [1] * 30, "no patient is in two splits"
    said = capsys.readouterr().out
    values = [v for v in written.values() if isinstance(v, str) and len(v) > 3]
    values += [part for value in values for part in value.split("^")]
    values += [nested.PatientID, nested.IssuerOfPatientID, *ids, *uids]
    content = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(content) == 6
    raw = (tmp_path / "raw" / "a" / "0.dcm").read_bytes()
    assert sum(value.encode() in raw for value in values) > 20, "or the search finds nothing"
    for value in values:
        assert value not in said, value
        assert not [path for path, found in content.items() if value.encode() in found], value
