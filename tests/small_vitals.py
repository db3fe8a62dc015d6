"""A small vitals prior, its draws, and a training folder of them: shared by tests of refiner and choosing critic."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from polyclinic import Batch, PatientProfile, ProfileEncoder
from polyclinic.core.condition import columns_of
from polyclinic.core.modality import DatasetSource, Record, TrainingSet
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Card, Weights
from polyclinic.modalities.signals.channels import CHANNELS, VITAL_FIELDS
from polyclinic.modalities.signals.vitals.network import VitalsModel, VitalsNet
from polyclinic.modalities.signals.vitals.refiner import RefinerShape
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler

ENCODER = ProfileEncoder()
COLUMNS = columns_of(ENCODER.columns, [*VITAL_FIELDS, "age", "sex", "A41.9"])
HOURS, SMALL = 12, RefinerShape(latent=4, width=16)
PLAIN = [i for i, name in enumerate(COLUMNS) if name.split("?")[0].split("~")[0] not in VITAL_FIELDS]
HR = CHANNELS.index("HR")


def prior(shortest: int | None = None) -> Weights:
    """Of a small network as it is made; no stay ends before `shortest` hours, where it says so."""
    torch.manual_seed(0)
    shape = VitalsModel(hours=HOURS, width=12, head=8, embed=4, dropout=0.0)
    card = Card(
        name="vitals", modality="signals", kind="autoregressive GRU", data=[], privacy="public", steps=0,
        columns=COLUMNS, model={**shape.model_dump(), "shortest": shape.shortest if shortest is None else shortest},
    )  # fmt: skip
    return Weights({k: v.half() for k, v in VitalsNet(len(COLUMNS), shape).state_dict().items()}, card)


def stays(weights: Weights, rows: range, refine: bool | None = None) -> list[Record]:
    people = tuple(
        PatientProfile(f"p{i}", age=40.0 + i % 40, sex="FM"[i % 2], measurements={"heart_rate": 80.0})
        for i in rows
    )
    sampler = VitalsSampler(weights, ENCODER.columns, refine=refine)
    return sampler.sample(Batch(people, ENCODER.encode(people), tuple(rows)))


def folder(root: Path, rows: int = 320, shortest: int | None = None) -> TrainingSet:
    """The prior's own draws, of which the heart rate swings three times as far."""
    grid = np.stack([record.arrays["vitals"] for record in stays(prior(shortest), range(rows))])
    grid[:, 0, HR] = np.where(np.isnan(grid[:, 0, HR]), 80, grid[:, 0, HR])
    middle = np.nanmedian(grid[..., HR], axis=1, keepdims=True)
    grid[..., HR] = np.clip(np.rint(middle + 3 * (grid[..., HR] - middle)), 30, 200)
    names = tuple(f"p{i}" for i in range(rows))
    table = pd.DataFrame(grid.reshape(-1, len(CHANNELS)), columns=list(CHANNELS))
    table["patient_id"], table["hour"] = np.repeat(names, HOURS), np.tile(np.arange(HOURS), rows)
    table.to_parquet(root / "series.parquet")
    people = tuple(PatientProfile(name, age=60.0, sex="F") for name in names)
    options = {"kind": "vitals", "hours": HOURS}
    return TrainingSet(
        root, DatasetSource("made up", "none"), names, people, ("age", "sex"), "train", options
    )


def quick(root: Path) -> Fit:
    return Fit(folder=root / "run", accelerator="cpu", precision="32-true", progress=False)
