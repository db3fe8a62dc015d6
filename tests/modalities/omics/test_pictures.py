"""The picture of omics: whatever features there are, constant ones too, it is drawn without a warning."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.modalities.omics.classes import PAM50
from polyclinic.modalities.omics.pictures import Rows, picture


def rows(patients: int, features: int, constant: int) -> Rows:
    rng = np.random.default_rng(0)
    names, found = np.array([f"G{k}" for k in range(features)]), []
    for i in range(patients):
        values = rng.normal(8, 1, features).astype(np.float32)
        values[:constant] = 5.1
        subtype = ("LumA", "Basal")[i % 2]
        profile = PatientProfile(f"p{i}", traits={"pam50": subtype})
        found.append((profile, Record({"rna": values, "rna_var": names}, {"pam50": subtype})))
    return found


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize(("features", "constant"), [(1, 1), (3, 3), (30, 5), (30, 30)])
def test_constant_features_and_no_pam50_genes_are_drawn_without_a_warning(
    features: int, constant: int, real: bool
) -> None:
    drawn, figure = rows(30, features, constant), Figure()
    said = picture(
        figure,
        drawn if real else [],
        drawn,
        assay="rna",
        classes=PAM50,
        contrast=("LumA", "Basal"),
        breast=True,
    )
    figure.canvas.draw()
    assert "telling features in order of class" in said
