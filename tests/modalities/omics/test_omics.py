"""The omics model: marginals, the latent prior, private sums, training of any assays, rows drawn independently."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality, seed_for
from polyclinic.app.training import Privacy, train
from polyclinic.core.dp.budget import Budget, compose
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError
from polyclinic.core.training.weights import Weights, load
from polyclinic.modalities.omics import private
from polyclinic.modalities.omics.classes import SUBTYPES
from polyclinic.modalities.omics.followup import FollowUp
from polyclinic.modalities.omics.generator import BLOCK, OmicsGenerator
from polyclinic.modalities.omics.latent_prior import LatentPrior
from polyclinic.modalities.omics.marginals import Marginals
from polyclinic.modalities.omics.model import residue
from polyclinic.modalities.omics.modules import RNA, members
from polyclinic.modalities.omics.private import Mechanisms, clipped, learn
from polyclinic.modalities.omics.survival import DECADES, LATE, NORM, Survival, fit, fit_sums, rows_of
from polyclinic.modalities.omics.tumours import Layout, Tumours

GENES = [f"{gene}" for names in RNA.values() for gene in names.split()[:8]]
GENES = list(dict.fromkeys([*GENES, *(f"G{i}" for i in range(40))]))
PROMOTERS = [f"M{i}" for i in range(30)]
PATIENTS = 120
TINY: dict[str, Any] = {
    "network": {"latent": 4, "width": 8, "factors": 6, "blur": 0.75},
    "training": {"steps": 60, "batch_size": 32},
}


def made_up(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RNA (patient, gene), methylation that follows it, and subtypes, which shift the luminal genes."""
    subtype = rng.choice(5, PATIENTS, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    axis = np.where(np.isin(subtype, [0, 1]), 1.0, -1.0) + 0.3 * rng.normal(size=PATIENTS)
    load = np.where(np.arange(len(GENES)) % 3 == 0, -0.8, 0.8)
    load[: len(RNA["luminal"].split()[:8])] = 1.5
    rna = 8 + axis[:, None] * load + rng.normal(size=(PATIENTS, len(GENES)))
    rna[:, -1] = np.where(rng.random(PATIENTS) < 0.4, 0.0, rna[:, -1])
    meth = -0.5 * axis[:, None] + 0.5 * rng.normal(size=(PATIENTS, len(PROMOTERS)))
    return rna.astype(np.float32), meth.astype(np.float32), subtype


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder of two assays; a third of the patients lack methylation."""
    root = tmp_path_factory.mktemp("omics")
    rng = np.random.default_rng(0)
    rna, meth, subtype = made_up(rng)
    ids = [f"p{i}" for i in range(PATIENTS)]
    people = pd.DataFrame(
        {"patient_id": ids, "age": rng.integers(30, 85, PATIENTS), "pam50": [SUBTYPES[k] for k in subtype]}
    )
    people["days"], people["died"] = rng.integers(0, 3000, PATIENTS), rng.integers(0, 2, PATIENTS)
    people.to_csv(root / "patients.csv", index=False)
    pd.DataFrame(rna, index=ids, columns=GENES).to_csv(root / "rna.csv", index_label="id")
    pd.DataFrame(meth, index=ids, columns=PROMOTERS).iloc[::3].to_csv(root / "meth.csv", index_label="id")
    described = {
        "record": "patient_id",
        "split": None,
        "fields": {"age": {"column": "age"}, "pam50": {"column": "pam50"}},
        "options": {"modality": "omics", "assays": {"rna": "rna.csv", "meth": "meth.csv"}},
    }
    described["options"]["survival"] = {"file": "patients.csv", "time": "days", "event": "died"}
    (root / "dataset.yaml").write_text(yaml.safe_dump(described))
    return root


def learnt(folder: Path, out: Path, privacy: Privacy = Privacy(), **model: Any) -> Weights:  # noqa: B008
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump({"modality": "omics", "name": "omics", "model": {**TINY, **model}}))
    train(
        "omics",
        folder,
        out,
        privacy,
        config=str(config),
        overwrite=True,
        accelerator="cpu",
        precision="32-true",
    )
    return load(out)


@pytest.fixture(scope="module")
def public(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return learnt(folder, tmp_path_factory.mktemp("w") / "omics.safetensors")


def people(count: int, **traits: str) -> tuple[PatientProfile, ...]:
    return tuple(PatientProfile(f"s{i}", age=40.0 + i % 40, traits=traits) for i in range(count))


def batch(profiles: tuple[PatientProfile, ...]) -> Batch:
    seeds = tuple(seed_for(1, p.patient_id, "omics") for p in profiles)
    return Batch(profiles, ProfileEncoder().encode(profiles), seeds)


def generator(weights: Weights, *assays: str) -> OmicsGenerator:
    return OmicsGenerator(weights, ProfileEncoder().columns, assays)


# marginals


def test_marginals_are_inverted_and_keep_what_is_not_detected() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(3, 2, (800, 3)).astype(np.float32)
    values[:, 1] = np.where(rng.random(800) < 0.3, 0, values[:, 1])
    values[::7, 2] = np.nan
    marginals = Marginals.fit(values)
    scores = marginals.to_scores(values, rng)
    assert np.isnan(scores[::7, 2]).all()
    known = np.nan_to_num(scores)
    back = marginals.to_values(known)
    seen = (values != 0) & ~np.isnan(values)
    assert np.median(np.abs(back - values)[seen]) < 0.02
    assert (back[values == 0] == 0).all()
    fresh = marginals.to_values(rng.standard_normal((20_000, 3)).astype(np.float32))
    assert (fresh == 0).mean(0) == pytest.approx([0, 0.3, 0], abs=0.02)
    assert fresh[:, 0].mean() == pytest.approx(values[:, 0].mean(), rel=0.05)


def test_calibration_takes_a_models_scores_to_the_datas_marginals() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 1, (1000, 1)).astype(np.float32)
    values[rng.random(1000) < 0.2] = 0
    own = (1.1 * rng.standard_normal((4000, 1)) + 0.3).astype(np.float32)
    marginals = Marginals.fit(values)
    plain, fitted = marginals.to_values(own), marginals.calibrated(own).to_values(own)
    assert (plain == 0).mean() != pytest.approx(0.2, abs=0.03)
    assert (fitted == 0).mean() == pytest.approx((values == 0).mean(), abs=0.02)
    assert fitted[fitted != 0].std() == pytest.approx(values[values != 0].std(), rel=0.05)


# the latent prior


@pytest.mark.parametrize("blur", [0.5, 1.0])
def test_the_latent_prior_draws_each_subtypes_mean_and_covariance(blur: float) -> None:
    rng = np.random.default_rng(0)
    subtype = np.repeat(np.arange(5), 400)
    plain = rng.uniform(-1, 1, (2000, 1))
    latent = rng.normal(size=(2000, 2)) @ [[1, 0.6], [0, 0.8]] + subtype[:, None] + 2 * plain
    prior = LatentPrior.fit(latent, plain, subtype, blur)
    assert len(prior.codes) == (0 if blur == 1 else 2000)
    known = np.array([True])
    drawn = np.array([prior.draw(3, prior.middle, known, rng) for _ in range(4000)])
    assert drawn.mean(0) == pytest.approx([3, 3], abs=0.15)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.6, abs=0.06)
    older = np.array([prior.draw(3, prior.middle + 0.5, known, rng) for _ in range(4000)])
    assert older.mean(0) - drawn.mean(0) == pytest.approx([1, 1], abs=0.15)
    unknown = np.array([prior.draw(3, prior.middle + 0.5, ~known, rng) for _ in range(4000)])
    assert unknown.mean(0) == pytest.approx(drawn.mean(0), abs=0.1)


def test_residue_keeps_variance_where_rows_lack_an_assay() -> None:
    rng = np.random.default_rng(0)
    left = rng.normal(size=(600, 8))
    left[::2, 4:] = np.nan
    load, values, spread = residue(left, 3)
    assert values.shape == (600, 3)
    assert np.square(load).sum(1) + spread**2 == pytest.approx(np.ones(8), abs=0.2)


# training and drawing


def test_tumours_have_the_subtypes_of_the_data_and_assays_that_agree(public: Weights) -> None:
    groups = {name: generator(public).sample(batch(people(150, pam50=name))) for name in ("LumA", "Basal")}
    luminal, basal = (
        np.stack([r.arrays["rna"] for r in records])[:, :4].mean() for records in groups.values()
    )
    assert luminal > basal + 1.5
    everyone = [r for records in groups.values() for r in records]
    rna, meth = (np.stack([r.arrays[k] for r in everyone]).astype(float) for k in ("rna", "meth"))
    assert np.corrcoef(rna[:, :4].mean(1), meth.mean(1))[0, 1] < -0.35
    undetected = (rna[:, -1] == 0).mean()
    assert undetected == pytest.approx(0.4, abs=0.15)
    assert everyone[0].facts["pam50"] == "LumA"
    assert everyone[0].facts["ESR1"] == pytest.approx(
        everyone[0].arrays["rna"][GENES.index("ESR1")], abs=1e-3
    )


@pytest.mark.parametrize("count", [1, 3, BLOCK, BLOCK + 1])
def test_a_tumour_does_not_depend_on_its_companions(public: Weights, count: int) -> None:
    everyone = people(2 * BLOCK)
    whole = generator(public).sample(batch(everyone))
    for start in (0, 7, BLOCK - 1):
        part = generator(public).sample(batch(everyone[start : start + count]))
        for one, other in zip(part, whole[start:], strict=False):
            assert one.facts == other.facts
            assert all(np.array_equal(one.arrays[k], other.arrays[k]) for k in one.arrays)


def test_a_subset_of_assays_is_the_same_tumour(public: Weights) -> None:
    both = generator(public).sample(batch(people(3)))
    alone = generator(public, "meth").sample(batch(people(3)))
    for one, other in zip(alone, both, strict=True):
        assert set(one.arrays) == {"meth", "meth_var"}
        assert np.array_equal(one.arrays["meth"], other.arrays["meth"])
        assert set(one.facts) == {"pam50", "os_months", "os_event"}
        assert one.facts["os_months"] == other.facts["os_months"]
    with pytest.raises(InputError, match=r"omics\.assays: .* no 'protein'; expected some of: meth, rna"):
        generator(public, "protein")


def test_a_subset_of_assays_can_be_learnt(folder: Path, tmp_path: Path) -> None:
    weights = learnt(folder, tmp_path / "omics.safetensors", assays=["rna"])
    assert set(weights.card.model["assays"]) == {"rna"}
    with pytest.raises(InputError, match=r"model\.assays: no data set has 'protein'"):
        learnt(folder, tmp_path / "other.safetensors", assays=["protein"])


def test_weights_with_patients_codes_say_so(public: Weights, folder: Path, tmp_path: Path) -> None:
    assert "latent code of each training patient" in public.card.notes
    blurred = learnt(folder, tmp_path / "omics.safetensors", network={**TINY["network"], "blur": 1.0})
    assert not blurred.card.notes
    assert blurred.tensors["law.codes"].numel() == 0


def test_an_open_subtype_is_drawn_by_the_training_shares(public: Weights) -> None:
    drawn = [r.facts["pam50"] for r in generator(public, "meth").sample(batch(people(600)))]
    shares = public.card.model["subtype_shares"]
    for name in SUBTYPES:
        assert drawn.count(name) / 600 == pytest.approx(shares[name], abs=0.07)


# privacy


def tumours(values: np.ndarray, subtype: np.ndarray) -> Tumours:
    code = np.concatenate([np.eye(5)[subtype], np.zeros((len(subtype), 1))], axis=1).astype(np.float32)
    columns = (*(f"pam50={s}" for s in SUBTYPES), "age")
    ids = tuple(str(i) for i in range(len(values)))
    return Tumours(values, Layout({"rna": tuple(GENES)}), code, columns, ids, None)  # type: ignore[arg-type]


class Spy(Mechanisms):
    """Without noise, so that what one patient moves can be seen."""

    def __init__(self) -> None:
        super().__init__([1e-9] * 4, True, np.random.default_rng(0))
        self.seen: list[tuple[np.ndarray, float]] = []

    def sum(self, rows: np.ndarray, norm: float, which: int) -> tuple[np.ndarray, float]:
        self.seen.append((clipped(rows, norm), norm))
        return super().sum(rows, norm, which)


def test_one_patient_moves_a_release_by_no_more_than_its_sensitivity() -> None:
    rna, _, subtype = made_up(np.random.default_rng(1))
    rna[-1] = 1e6  # an absurd patient
    spy = Spy()
    learn(tumours(rna, subtype), spy)
    assert len(spy.seen) == len(private.RELEASES)
    for rows, norm in spy.seen:
        assert np.linalg.norm(rows, axis=1).max() <= norm * (1 + 1e-9)


def test_noise_is_as_large_as_charged_and_drowns_the_data() -> None:
    rows = np.zeros((50, 4000))
    total, deviation = Mechanisms([3.0] * 4, True, np.random.default_rng(0)).sum(rows, 2.0, 1)
    assert deviation == 6.0
    assert total.std() == pytest.approx(6.0, rel=0.05)
    rna, _, subtype = made_up(np.random.default_rng(1))
    quiet, loud = (
        learn(tumours(rna, subtype), Mechanisms([m] * 4, True, np.random.default_rng(0))) for m in (1e-6, 1e4)
    )
    luminal = members("rna", GENES, True)["luminal"]
    assert np.abs(quiet.location - rna.mean(0)).max() < 0.3
    assert np.corrcoef(loud.location, rna.mean(0))[0, 1] < 0.5
    gap = quiet.factors.centres @ quiet.loadings[luminal].mean(0)
    assert gap[0] > gap[2] + 0.5


def test_the_factors_of_all_patients_have_mean_zero_whatever_their_age() -> None:
    rna, _, subtype = made_up(np.random.default_rng(1))
    data = tumours(rna, subtype)
    age = np.random.default_rng(2).uniform(0.3, 0.9, PATIENTS)
    data.code[:, -1] = age
    data.values[:, :8] += 3 * age[:, None]
    factors = learn(data, Mechanisms([1e-6] * 4, True, np.random.default_rng(0))).factors
    assert factors.middle == pytest.approx([age.mean()], abs=1e-3)
    mean = factors.centres[subtype] + (age[:, None] - factors.middle) @ factors.line.T
    assert np.abs(mean.mean(0)).max() < 0.15
    assert np.abs(factors.line).max() > 0.5


def test_private_training_charges_all_mechanisms_within_the_budget(folder: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    weights = learnt(folder, tmp_path / "omics.safetensors", Privacy(10.0, 1e-4, ledger))
    entries = Ledger(ledger).entries()
    assert [e.purpose for e in entries] == [*private.RELEASES, private.SURVIVAL]
    total = compose([e.plan() for e in entries], 1e-4, "prv")
    assert 9.5 < total <= 10.0
    assert weights.card.epsilon == pytest.approx(total, abs=0.01)
    assert {used.privacy for used in weights.card.data} == {weights.card.privacy}
    assert weights.tensors["law.codes"].numel() == 0
    records = generator(weights).sample(batch(people(5)))
    assert all(np.isfinite(r.arrays["rna"]).all() for r in records)


def test_too_few_patients_are_told_how_many_would_do(folder: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with pytest.raises(InputError, match=r"120 patients are too few.*; \d+ patients would do") as error:
        learnt(folder, tmp_path / "omics.safetensors", Privacy(0.5, 1e-4, ledger))
    assert not ledger.exists()
    need = int(str(error.value).split(" patients would do")[0].split()[-1])
    noise = private.noise_limit(Budget(0.5, 1e-4), survival=True)
    assert noise > private.MOST_NOISE * (need - 1)
    assert noise <= private.MOST_NOISE * need


def test_a_patient_without_an_assay_does_not_shift_its_means() -> None:
    rna, _, subtype = made_up(np.random.default_rng(1))
    data = tumours(rna, subtype)
    holes = rna.copy()
    holes[: PATIENTS // 2] = np.nan
    half = learn(replace(data, values=holes), Mechanisms([1e-6] * 4, True, np.random.default_rng(0)))
    assert np.abs(half.location - rna[PATIENTS // 2 :].mean(0)).max() < 0.6


def test_options_choose_assays() -> None:
    modality: Any = load_modality("omics", {"assays": ["rna"]})
    assert modality.options.assays == ["rna"]
    with pytest.raises(InputError, match="omics: unknown key 'assay'"):
        load_modality("omics", {"assay": ["rna"]})


def test_a_module_needs_three_of_its_genes() -> None:
    found: Mapping[str, list[int]] = members("rna", ["ESR1", "PGR", "GATA3", "ERBB2", "GRB7"], False)
    assert found == {"luminal": [0, 1, 2]}
    assert members("mirna", ["hsa-mir-17", "hsa_mir_19a", "hsa_mir_93"], True) == {"growth": [0, 1, 2]}


# survival

TRUE = Survival(np.array([-1.0, 0.5, 1.2, 0.0, 0.6, 0.0, 0.0]), np.array([1.0]))


def followed(count: int) -> tuple[list[PatientProfile], np.ndarray, FollowUp]:
    """Patients whose survival is drawn by TRUE."""
    rng = np.random.default_rng(0)
    subtype = rng.integers(5, size=count)
    profiles = [
        PatientProfile(
            f"p{i}", age=rng.uniform(35, 85), traits={"tumor_stage": ("I", "II", "III", "IV")[i % 4]}
        )
        for i in range(count)
    ]
    drawn = [
        TRUE.draw(p.age, p.traits["tumor_stage"], int(k), rng) for p, k in zip(profiles, subtype, strict=True)
    ]
    months, event = np.array(drawn, dtype=np.float64).T
    return profiles, subtype, FollowUp(months, event)


def test_survival_is_learnt_from_patients_and_from_sums_alike() -> None:
    profiles, subtype, ends = followed(6000)
    rows = rows_of(profiles, subtype, ends)
    assert np.linalg.norm(rows, axis=1).max() <= NORM
    for model in (fit(profiles, subtype, ends), fit_sums(rows.sum(0), 0.0, len(profiles))):
        assert model.hazard == pytest.approx(TRUE.hazard, abs=0.2)
        assert model.ending == pytest.approx(TRUE.ending, abs=0.1)


def test_where_noise_is_large_survival_is_what_is_expected() -> None:
    profiles, subtype, ends = followed(100)
    noise = 1e4 * np.random.default_rng(1).standard_normal(22)
    model = fit_sums(rows_of(profiles, subtype, ends).sum(0) + noise, 1e4, len(profiles))
    assert model.hazard[1:] == pytest.approx([0.3, 1.0, 0.3, 0.5, 0.4, 0.2], abs=0.05)
    assert np.isfinite(model.ending).all()


def test_survival_worsens_with_age_and_stage_and_is_average_where_unknown() -> None:
    def months(age: float | None, stage: str | None) -> float:
        draws = [TRUE.draw(age, stage, 0, np.random.default_rng(i)) for i in range(2000)]
        assert min(time for time, _ in draws) > 0
        return float(np.mean([died for _, died in draws]))

    assert months(40, "I") < months(60, "I") < months(60, LATE[0])
    assert months(60, "I") < months(None, None) < months(60, LATE[1])
    assert months(60 + 10 * DECADES, "I") == months(120, "I")


def test_patients_without_follow_up_add_nothing() -> None:
    profiles, subtype, ends = followed(50)
    nobody = FollowUp(np.full(50, np.nan), np.full(50, np.nan))
    assert not rows_of(profiles, subtype, nobody).any()
    blank = [PatientProfile(p.patient_id) for p in profiles]
    rows = rows_of(blank, np.full(50, -1), ends)
    assert rows[:, 0] == pytest.approx(0.2 * np.nan_to_num(ends.event) * (ends.months <= 120))


def test_expression_follows_the_fields_asked_for(folder: Path, tmp_path: Path) -> None:
    weights = learnt(folder, tmp_path / "omics.safetensors", steer=["pam50"])
    assert not any(column.startswith("age") for column in weights.card.columns)
    with pytest.raises(
        InputError, match=r"model\.steer: no data set maps 'weight'; expected some of: age, pam50"
    ):
        learnt(folder, tmp_path / "other.safetensors", steer=["weight"])


def test_data_without_follow_up_make_tumours_without_survival(public: Weights) -> None:
    tensors = {name: own for name, own in public.tensors.items() if not name.startswith("survival.")}
    records = generator(replace(public, tensors=tensors)).sample(batch(people(2)))
    assert not any("os_months" in record.facts for record in records)
