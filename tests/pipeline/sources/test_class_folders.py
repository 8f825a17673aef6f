"""Folders named after classes: which are splits is known or asked, and nothing is left out without a word."""

import os
import shutil
import subprocess

import pytest
from fakes.checkout import ROOT
from fakes.sources import draw, labels, read

from pipeline.errors import DataError


def tree(root, *places):
    for n, place in enumerate(places):
        draw(root / place / "0.png", seed=n)
    return root


@pytest.mark.parametrize("words", [("Training", "Testing"), ("TRAIN", "val"), ("training_set", "test_set")])
def test_usual_words_for_splits_are_splits(tmp_path, words):
    found = read(tree(tmp_path, *[f"{word}/{c}" for word in words for c in ("NORMAL", "PNEUMONIA")]), "folder")
    assert found.classes == ["NORMAL", "PNEUMONIA"]
    assert {row.split for row in found.rows} <= {"train", "val", "test"}


def test_splits_within_classes_and_splits_without_training_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"splits within 1 classes\. Fix: .* as train/a:\n  a/train"):
        read(tree(tmp_path / "inner", "a/train", "a/test", "b"), "folder")
    with pytest.raises(DataError, match=r"called like splits \(test, valid\), and no folder of training"):
        read(tree(tmp_path / "none", "test/a", "test/b", "valid/a", "valid/b"), "folder")


def test_files_that_are_left_out_are_named(tmp_path, capsys):
    root = tree(tmp_path, "a", "b")
    draw(root / "beside.png")
    for name in ("a/scan.nii", "a/photo.cr2", "a/17"):
        (root / name).write_bytes(b"x")
    for name in ("a/.ipynb_checkpoints/0.png", "__MACOSX/a/0.png", "a/.DS_Store"):
        draw((root / name).with_suffix(".png"))
    assert labels(read(root, "folder")) == {"a/0.png": "a", "b/0.png": "b"}
    said = capsys.readouterr().out
    assert "left out 4 files that are no images in folders of classes" in said
    assert "(1 without extension, 1 .cr2, 1 .nii, 1 .png)" in said
    assert all(name in said for name in ("a/scan.nii", "a/photo.cr2", "a/17", "beside.png"))


def test_a_class_without_any_image_does_not_vanish(tmp_path):
    root = tree(tmp_path, "a", "b")
    (root / "c").mkdir()
    with pytest.raises(DataError, match=r"1 folders without any image\. Fix: convert.*\n  c: empty"):
        read(root, "folder")
    (root / "c" / "1.nii").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 folders without any image.*\n  c: 1 \.nii"):
        read(root, "folder")


def test_classes_that_are_spelled_in_two_ways_are_named(tmp_path):
    root = tree(tmp_path, "train/Cat", "train/dog", "val/cat", "val/dog", "test/Cat", "test/dog")
    with pytest.raises(DataError, match=r"1 classes are spelled in several ways.*\n  'Cat' \(.*0\.png\), 'cat' \(val"):
        read(root, "folder")


def test_grades_are_in_the_order_of_their_numbers_or_of_the_settings(tmp_path, capsys):
    root = tree(tmp_path / "grades", *map(str, range(11)))
    assert read(root, "folder").classes == [str(n) for n in range(11)]
    assert (
        "the classes in order are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10. `classes` sets another order"
        in capsys.readouterr().out
    )
    root = tree(tmp_path / "words", "mild", "moderate", "none")
    assert read(root, "folder", classes=["none", "mild", "moderate"]).classes == ["none", "mild", "moderate"]
    with pytest.raises(DataError, match=r"`classes` names none, mild, but .* has mild, moderate, none\. Fix"):
        read(root, "folder", classes=["none", "mild"])


def test_numbers_in_the_settings_are_names_of_classes(tmp_path):
    assert read(tree(tmp_path, "0", "1"), "folder", classes=[1, 0]).classes == ["1", "0"]


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    tree(tmp_path, "a", "b")
    os.rename(tmp_path / "a" / "0.png", os.fsencode(tmp_path / "a") + b"/caf\xe9.png")
    with pytest.raises(DataError, match=r"1 names of files are not UTF-8.*`convmv .*\n  .*caf\\udce9\.png") as error:
        read(tmp_path, "folder")
    assert str(error.value).encode()


def test_images_in_dvcs_cache_are_inside_and_other_links_are_not(tmp_path):
    cache = tmp_path / "cache" / "files" / "md5" / "ab" / ("0" * 30)
    draw(cache.with_suffix(".png"))
    cache.with_suffix(".png").rename(cache)
    root = tree(tmp_path / "own", "a", "b")
    (root / "a" / "1.png").symlink_to(cache)
    assert "a/1.png" in labels(read(root, "folder"))
    (root / "table.csv").write_text("image,label\na/1.png,a\nb/0.png,b\n")
    assert labels(read(root, "folder", table="table.csv")) == {"a/1.png": "a", "b/0.png": "b"}
    draw(tmp_path / "elsewhere" / "secret.png")
    (root / "a" / "2.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    with pytest.raises(DataError, match="leads out of the data folder"):
        read(root, "folder")
    (root / "a" / "2.png").unlink()
    (root / "c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"1 folders are links that lead out.*\n  .*own/c"):
        read(root, "folder")


def test_images_that_dvc_tracks_are_read(tmp_path, monkeypatch):
    """With links into its cache; the project's .gitignore must let their .dvc file in."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    place = "data/raw/lesions"
    before = labels(read(tree(tmp_path / place, "a", "b"), "folder"))
    for command in ("git init -q", "dvc init -q", "dvc config cache.type symlink", f"dvc add -q {place}"):
        subprocess.run(command.split(), check=True)
    assert (tmp_path / place / "a" / "0.png").is_symlink()
    assert labels(read(place, "folder")) == before
    subprocess.run(["git", "add", f"{place}.dvc"], check=True)
    for ignored in (f"{place}/a/0.png", "data/prepared/x", "data/originals/x.csv"):
        assert subprocess.run(["git", "check-ignore", "-q", ignored], check=False).returncode == 0, ignored


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    tree(tmp_path, "a", "b")
    (tmp_path / "a").chmod(0)
    with pytest.raises(DataError, match=r"1 folders cannot be read.*\n  .*/a: Permission denied"):
        read(tmp_path, "folder")


def test_a_root_that_is_a_file_is_said_to_be_one(tmp_path):
    (tmp_path / "own.zip").write_bytes(b"x")
    with pytest.raises(DataError, match=r"own\.zip is no folder"):
        read(tmp_path / "own.zip", "folder")
