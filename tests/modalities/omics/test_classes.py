"""Classes of samples: any field's, on cards and in codes; private moments of samples without public modules."""

import numpy as np
import pytest

from polyclinic import PatientProfile
from polyclinic.core.fields import Declaration, Field
from polyclinic.modalities.omics.classes import ALL, PAM50, Classes, of_breast
from polyclinic.modalities.omics.metrics import Shown, views
from polyclinic.modalities.omics.private import Mechanisms, learn
from polyclinic.modalities.omics.tumours import Layout, Tumours

LINEAGE = Classes.of(Field.of("lineage", Declaration(kind="category", classes=["B", "T", "M"])))
RELAPSE = Classes.of(Field.of("relapse", Declaration(kind="flag", label="Relapse")))


@pytest.mark.parametrize("classes", [LINEAGE, RELAPSE, ALL, PAM50])
def test_classes_survive_card_and_code(classes: Classes) -> None:
    back = Classes.of_card({"classes": classes.for_card()}, [])
    assert (back.field, back.names) == (classes.field, classes.names)
    columns = list({name: None for place in range(len(classes)) for name in classes.encoded(place)})
    for place in range(len(classes)):
        code = classes.encoded(place)
        row = np.array([[code.get(name, 0.0) for name in columns]], np.float32)
        assert classes.places(row, columns).tolist() == [place]
    assert classes.covariates(["age", *columns]) == [0]


def test_profiles_know_their_class_or_not() -> None:
    assert LINEAGE.place(PatientProfile("p", traits={"lineage": "T"})) == 1
    assert RELAPSE.place(PatientProfile("p", conditions={"relapse": True})) == 1
    assert LINEAGE.place(PatientProfile("p")) == -1
    assert ALL.place(PatientProfile("p")) == 0


def test_breast_modules_are_of_breast_cancers_alone() -> None:
    assert of_breast(PAM50, None)
    assert of_breast(LINEAGE, "C50.9")
    assert not of_breast(LINEAGE, None)
    assert not of_breast(PAM50, "C64.9")


def test_views_are_of_the_assays_and_classes() -> None:
    shown = Shown(("mirna", "protein"), LINEAGE, ("B", "T"), breast=False, survival=False)
    assert [view.needs for view in views(shown)] == ["mirna", "protein"]
    assert [task.classes for task in views(shown)[0].tasks] == [("B", "T", "M")]


def test_private_moments_keep_the_classes_of_samples_without_public_modules() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=300)
    shift = rng.normal(size=(3, 60))
    values = (5 + shift[kind] + rng.normal(size=(300, 60))).astype(np.float32)
    code = np.concatenate([np.eye(3)[kind], np.ones((300, 1))], axis=1).astype(np.float32)
    columns = ("lineage=B", "lineage=T", "lineage=M", "lineage?")
    layout = Layout({"array": tuple(f"{i}_at" for i in range(60))})
    ids = tuple(map(str, range(300)))
    data = Tumours(values, layout, code, columns, ids, None, classes=LINEAGE)  # type: ignore[arg-type]
    found = learn(data, Mechanisms([1e-6] * 4, False, np.random.default_rng(0)))
    means = found.location + found.spread * (found.factors.centres @ found.loadings.T)
    real = np.stack([values[kind == k].mean(0) for k in range(3)])
    assert np.corrcoef((means - means.mean(0)).ravel(), (real - real.mean(0)).ravel())[0, 1] > 0.9
