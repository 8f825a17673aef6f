"""nci: its table as CSV and spreadsheet, groups by patient, and mistakes."""

import numpy as np
import pandas as pd
import pytest
from fakes.sources import draw, edit, labels, read

from pipeline.errors import DataError
from pipeline.sources import nci


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
    with pytest.raises(DataError, match=r"no column 'WOMAN'; it has 'IMAGE_ID'"):
        read(folder, "nci", covariates="covariates.csv", patient="WOMAN")
    with pytest.raises(DataError, match=r"none\.xlsx is missing\. Fix: ask the NCI"):
        read(folder, "nci", covariates="none.xlsx")
    edit(folder / "covariates.csv", lambda t: t.assign(WRST_HIST_AFTER=["CIN2", *t["WRST_HIST_AFTER"][1:]]))
    with pytest.raises(DataError, match=r"not whole numbers\. Fix: correct these rows:\n  100: 'CIN2'"):
        read(folder, "nci", covariates="covariates.csv")
