"""`read`, a command for tests alone: reads a training folder as `train` and `evaluate` do, and says what it found."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer


def install() -> None:
    """Add the command to the command line of this process."""
    from polyclinic.app.cli import app

    app.command(name="read")(read)


def read(modality: str, data: Annotated[Path, typer.Option()]) -> None:
    """Rows, patients, records of both splits, and a hash of all their values."""
    from polyclinic.app.training import read_config
    from polyclinic.conditioning.dataset.dataset import read_training_set
    from polyclinic.core.capabilities import Windowed
    from polyclinic.core.registry import load_modality

    settings = read_config(modality, data, None, "probe")
    seen = sha256()
    for part in settings.datasets:
        for split in ("train", "test"):
            found = read_training_set(part, data, split)
            for profile in found.profiles:
                seen.update(repr(sorted(profile.to_dict().items())).encode())
            patients = {profile.patient_id for profile in found.profiles}
            records: list[Any] = []
            if modality != "fake_notes":  # which has no real records
                learner = load_modality(modality)
                records = learner.load(found)
                if isinstance(learner, Windowed):
                    records = [record for _, record in learner.windows(found)]
            values = 0
            for record in records:
                for name, array in sorted(record.arrays.items()):
                    if name == "r_peaks":  # which are found in the values
                        continue
                    seen.update(name.encode())
                    seen.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
                    values += int(np.isfinite(array).sum()) if array.dtype.kind == "f" else array.size
            print(
                f"{split}: {len(found)} rows, {len(patients)} patients, {len(records)} records, {values} values"
            )
    print(f"hash: {seen.hexdigest()}")
