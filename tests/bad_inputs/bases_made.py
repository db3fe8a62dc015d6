"""Valid inputs that commands have made: cohorts, weights, ledgers, keys, checkpoints; and YAML that people write."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from .bases import ASSAYS, GENES, LEARN, LEDGERS, TABLE, people, population_folder, settings, write
from .case import Base, nothing

COHORT: dict[str, Any] = {
    "name": "ward",
    "title": "A ward",
    "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
    "age": {"mean": 60, "sd": 10, "low": 20, "high": 90},
    "women": 0.5,
    "conditions": {
        "I10": {"share": 0.4, "per_decade": 1.5, "men": 1.2},
        "J90": {"share": 0.3, "given": {"I10": 2}},
    },
    "declare": {
        "melanoma": {"kind": "flag", "label": "Melanoma", "codes": {"icd10cm": "C43.9"}},
        "lactate": {"kind": "number", "unit": "mmol/L", "range": [0, 30], "label": "Lactate"},
        "cdr": {"kind": "category", "classes": ["0", "1"], "label": "Dementia"},
    },
    "fields": {"melanoma": 0.2, "lactate": {"mean": 2, "sd": 1}, "cdr": {"0": 0.5, "1": 0.5}},
    "include": {"age": [25, 90]},
    "exclude": [{"sex": "F", "age": [80, 90]}],
    "strata": [{"share": 0.5, "who": {"sex": "F"}}],
    "sites": {"north": {"women": 0.4}},
}
POLICY: dict[str, Any] = {
    "format": 2,
    "name": "tiny",
    "about": "for tests",
    "terms": {"patients_at_least": 1, "patients_at_most": 1000, "roles": ["steward"], "retention_days": 30},
    "gate_one": {
        "limits": {
            "ks_above_baseline_at_most": 0.9,
            "frechet_above_baseline_at_most": 0.9,
            "c2st_auc_at_most": 1.0,
            "tstr_share_at_least": 0.0,
        },
        "linkage_score_at_least": 0.0,
    },
    "gate_two": {
        "auc_upper_at_most": 1.0,
        "tpr_at_1_fpr_at_most": 1.0,
        "attacks_at_least": 1,
        "near_copies_above_controls_at_most": 1.0,
        "public_weights": True,
        "epsilon_at_most": 10,
        "audit": False,
    },
    "may_be_unmeasured": ["*", "*/*", "*/*/*", "*/*/*/*"],
}
SCENARIO: dict[str, Any] = {
    "title": "A bad hour",
    "events": [
        {"what": "sepsis", "at": "1 s", "over": "2 s", "severity": 0.8, "beds": [1]},
        {"what": "dropout", "at": "1 s", "lasts": "1 s", "keeps": 1},
        {"what": "duplicates", "at": "0 s", "share": 0.02},
        {"what": "clock_drift", "at": "0 s", "ppm": 200, "jump": 1.5},
        {"what": "lead_off", "at": "1 s", "lasts": "1 s", "electrode": "V2", "beds": [1]},
    ],
}
TRAINING: dict[str, Any] = {
    "modality": "omics",
    "name": "tumours",
    "seed": 3,
    "datasets": [],
    "model": {
        "network": {"latent": 4, "width": 8, "factors": 2, "blur": 1.0},
        "training": {"steps": 4, "batch_size": 16},
    },
}


def yaml_file(name: str, values: dict[str, Any]) -> Any:
    """A builder of one YAML file."""

    def build(home: Path) -> None:
        (home / name).write_text(yaml.safe_dump(values, sort_keys=False))

    return build


def key_and_policy(home: Path) -> None:
    """A policy; keys are made by command."""
    yaml_file("policy.yaml", POLICY)(home)


def training_folder(home: Path) -> None:
    """Sixty-four samples of one assay, and the YAML of a training of few steps."""
    number = 80
    described = settings(options={**ASSAYS, "assays": {"rna": {"file": "rna.csv", "values": "log2"}}})
    write(home / "data", described, people("", number))
    rng = np.random.default_rng(5)
    names = people("", number)["record"]
    values = pd.DataFrame(rng.normal(6, 1, (number, len(GENES))).round(3), index=names, columns=list(GENES))
    values.to_csv(home / "data" / "rna.csv", index_label="sample")
    yaml_file("training.yaml", TRAINING)(home)


def pair_of_folders(home: Path) -> None:
    """Two tables of patients, of which one is to be judged against the other."""
    described = settings(split=None, test_share=0.5, options={"modality": "population"})
    write(home / "real", described, people(number=60))
    write(home / "synthetic", described, people(number=60).assign(mrn=[f"S{i}" for i in range(60)]))


def learnt_cohort(home: Path) -> None:
    """A cohort YAML whose patients come from a learnt table."""
    population_folder(home)
    yaml_file(
        "cohort.yaml",
        {
            "name": "learnt",
            "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
            "table": "table.safetensors",
            "declare": TABLE["declare"],
        },
    )(home)


def inference_folder(home: Path) -> None:
    """A table that regressions with intervals are made of."""
    write(home / "data", settings(options={"inference": 0.5}), people(number=400))


def weights_folder(home: Path) -> None:
    """Two weight files that ship, under names of the user's."""
    from polyclinic.core.training.weights import find

    (home / "own").mkdir()
    for name in ("vitals", "omics"):
        (home / "own" / f"{name}.safetensors").write_bytes(find(name).read_bytes())


DRAW = ("generate", "--cohort", "icu", "--patients", "3", "--workers", "1", "--seed", "5")
KEYS = ("keys", "k.pem")
SIGNED = (
    KEYS,
    (*DRAW, "--modalities", "fake_notes", "--out", "c"),
    ("approve", "c", "--role", "steward", "--policy", "policy.yaml", "--key", "k.pem"),
)
RELEASED = (*SIGNED, ("release", "c", "--policy", "policy.yaml", "--key", "k.pem"))
SENT = ("stream", "--to", "-", "--speed", "max", "--seconds", "3", "--patients", "1")
OMICS = (
    "train",
    "omics",
    "--data",
    "data",
    "--config",
    "training.yaml",
    "--public",
    "--out",
    "w.safetensors",
)
CHARTS = (*DRAW, "--modalities", "signals", "--out", "c")
RECORDS = (*DRAW, "--modalities", "records", "--out", "c")

MADE = (
    Base(
        "cohort YAML",
        "cohort YAML",
        yaml_file("cohort.yaml", COHORT),
        (
            "generate",
            "--cohort",
            "cohort.yaml",
            "--patients",
            "6",
            "--modalities",
            "fake_notes",
            "--workers",
            "1",
            "--out",
            "o",
        ),
        ("o",),
    ),
    Base(
        "learnt table",
        "weights",
        learnt_cohort,
        (
            "generate",
            "--cohort",
            "cohort.yaml",
            "--patients",
            "3",
            "--modalities",
            "fake_notes",
            "--workers",
            "1",
            "--out",
            "o",
        ),
        ("o",),
        prepare=((*LEARN[:4], "--out", "table.safetensors", *LEARN[6:]),),
    ),
    Base(
        "policy YAML",
        "policy YAML",
        key_and_policy,
        ("approve", "c", "--role", "steward", "--policy", "policy.yaml", "--key", "k.pem"),
        aside=("c/journal.jsonl",),
        prepare=SIGNED[:2],
    ),
    Base(
        "scenario YAML",
        "scenario YAML",
        yaml_file("scenario.yaml", SCENARIO),
        (*SENT, "--cohort", "icu", "--scenario", "scenario.yaml"),
    ),
    Base("training YAML", "training YAML", training_folder, OMICS, ("w.safetensors",)),
    Base("verify", "cohort", key_and_policy, ("verify", "c"), prepare=RELEASED),
    Base("journal", "cohort", key_and_policy, ("journal", "c"), prepare=RELEASED),
    Base(
        "approve",
        "cohort",
        key_and_policy,
        ("approve", "c", "--role", "steward", "--policy", "policy.yaml", "--key", "k.pem"),
        aside=("c/journal.jsonl",),
        prepare=RELEASED,
    ),
    Base(
        "purge",
        "cohort",
        key_and_policy,
        ("purge", "c", "--key", "k.pem", "--early"),
        aside=("c",),
        prepare=RELEASED,
    ),
    Base(
        "convert",
        "cohort",
        key_and_policy,
        ("convert", "c", "--to", "csv", "--out", "o"),
        ("o",),
        prepare=(RECORDS,),
    ),
    Base("stream", "cohort", key_and_policy, (*SENT, "c"), prepare=(CHARTS,)),
    Base(
        "evaluate",
        "cohort",
        key_and_policy,
        ("evaluate", "c", "--out", "r", "--quick"),
        ("r",),
        prepare=(CHARTS,),
    ),
    Base(
        "resume",
        "cohort",
        key_and_policy,
        (*DRAW, "--modalities", "fake_notes", "--out", "c", "--resume"),
        aside=("c",),
        prepare=SIGNED[:2],
    ),
    Base(
        "release",
        "cohort",
        key_and_policy,
        ("release", "c", "--policy", "policy.yaml", "--key", "k.pem"),
        aside=("c",),
        prepare=SIGNED,
    ),
    Base("weights", "weights", weights_folder, ("weights",), environment=(("POLYCLINIC_WEIGHTS", "own"),)),
    Base(
        "use vitals",
        "weights",
        weights_folder,
        (*DRAW, "--modalities", "signals", "--use", "vitals=own/vitals.safetensors", "--out", "o"),
        ("o",),
    ),
    Base(
        "use omics",
        "weights",
        weights_folder,
        (
            *DRAW,
            "--cohort",
            "cardio_oncology",
            "--modalities",
            "omics",
            "--use",
            "omics=own/omics.safetensors",
            "--out",
            "o",
        ),
        ("o",),
    ),
    Base("drawing", "options", nothing, (*DRAW, "--modalities", "fake_notes", "--out", "o"), ("o",)),
    Base(
        "infer",
        "weights",
        inference_folder,
        ("infer", "w.safetensors", "linear", "heart_rate ~ age + stage=II", "--sets", "3"),
        prepare=(LEARN,),
    ),
    Base("ledger", "ledger", population_folder, ("ledger", "ledger.jsonl"), prepare=(LEARN,)),
    Base(
        "charge",
        "ledger",
        population_folder,
        (*LEARN, "--limit", "30", "--overwrite"),
        ("w.safetensors",),
        aside=("ledger.jsonl", *LEDGERS),
        prepare=(LEARN,),
    ),
    Base(
        "watermark",
        "keys",
        key_and_policy,
        (*DRAW, "--modalities", "signals", "--watermark-key", "m.key", "--out", "o"),
        ("o",),
        prepare=(("keys", "m.key", "--watermark"),),
    ),
    Base(
        "checkpoint",
        "checkpoint",
        training_folder,
        (*OMICS, "--overwrite", "--checkpoints", "ck", "--resume"),
        ("w.safetensors",),
        aside=("ck",),
        prepare=((*OMICS, "--checkpoints", "ck"),),
    ),
    Base(
        "compare",
        "table CSV",
        pair_of_folders,
        ("compare", "real", "synthetic", "--out", "r", "--quick"),
        ("r",),
    ),
)
