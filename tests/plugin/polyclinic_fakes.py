"""Two tiny modalities for tests: notes (a file a patient) and a table (one file for all who are women).

They sit on a path of their own with entry points, as a plugin from outside does, so that worker
processes and subprocesses find them too. FAKE_DELAY (seconds a record) slows them, FAKE_FULL_AFTER (bytes)
makes their disk full.
"""

import errno
import os
import time
from pathlib import Path

import numpy as np

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.training.weights import Card, DataUsed, Weights


class Drawn:
    """Eight bytes a row from the row's seed, and the conditions' sum."""

    def sample(self, batch):
        time.sleep(float(os.environ.get("FAKE_DELAY", "0")) * len(batch))
        return [
            Record({"bytes": np.random.default_rng(seed).integers(0, 256, 8, dtype=np.uint8)}, {"age": p.age})
            for p, seed in zip(batch.profiles, batch.seeds, strict=True)
        ]


class Notes:
    """One text file a patient, and one that tells nothing but exists."""

    name = "fake_notes"
    after = ()
    shared = False
    indication = "every patient has a note"

    def indicated(self, profile):
        return True

    def weights(self):
        return []

    def generator(self, columns):
        return Drawn()

    def train(self, data, conditioner, config, fit, init):
        import torch

        fit.folder.mkdir()
        used = [
            DataUsed(
                **vars(d.source),
                rows=len(d),
                patients=len({p.patient_id for p in d.profiles}),
                privacy="public",
            )
            for d in data
        ]
        card = Card(
            name="x",
            modality=self.name,
            kind="fake",
            data=used,
            privacy=f"{fit.budget} {fit.limit} {fit.ledger}",
            steps=fit.seed,
            columns=[],
            model=dict(config),
        )
        return Weights({"w": torch.ones(2)}, card)

    def load(self, data):
        raise InputError(f"{self.name}: there are no real ones")

    def export(self, records, profiles, folder):
        written = []
        for record, profile in zip(records, profiles, strict=True):
            home = folder / "notes" / profile.patient_id
            home.mkdir(parents=True)
            for name, text in (("note.txt", record.arrays["bytes"].tobytes().hex()), ("empty.txt", "")):
                if text and "FAKE_FULL_AFTER" in os.environ:
                    left = int(os.environ["FAKE_FULL_AFTER"]) - len(text)
                    os.environ["FAKE_FULL_AFTER"] = str(left)
                    if left < 0:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                (home / name).write_text(text)
                written.append(home / name)
        return written

    def assemble(self, pieces, folder):
        return []

    def read(self, folder, patient_ids):
        paths = {pid: folder / "notes" / pid / "note.txt" for pid in patient_ids}
        return {
            pid: Record({"bytes": np.frombuffer(bytes.fromhex(path.read_text()), dtype=np.uint8)})
            for pid, path in paths.items()
            if path.exists()
        }

    def views(self):
        return []


class Table:
    """One CSV for all women; each row quotes a fact of the patient's note."""

    name = "fake_table"
    after = ("fake_notes",)
    shared = True
    indication = "women have a row"

    def indicated(self, profile):
        return profile.sex == "F"

    def weights(self):
        return []

    def generator(self, columns):
        return Quoting()

    def train(self, data, conditioner, config, fit, init):
        raise InputError("fake_table: nothing to learn")

    def load(self, data):
        raise InputError(f"{self.name}: there are no real ones")

    def export(self, records, profiles, folder):
        path = Path(folder) / "rows.csv"
        rows = zip(records, profiles, strict=True)
        path.write_text("".join(f"{p.patient_id},{r.facts['note_age']},{r.facts['draw']}\n" for r, p in rows))
        return [path]

    def assemble(self, pieces, folder):
        home = Path(folder) / "table"
        home.mkdir()
        with (home / "rows.csv").open("w") as whole:
            for piece in pieces:
                whole.write((piece / "rows.csv").read_text())
        return [home / "rows.csv"]

    def read(self, folder, patient_ids):
        lines = [line.split(",") for line in (folder / "table" / "rows.csv").read_text().splitlines()]
        return {
            pid: Record({}, {"note_age": float(a), "draw": int(d)})
            for pid, a, d in lines
            if pid in patient_ids
        }

    def views(self):
        return []


class Quoting:
    """Reads the note's facts."""

    def sample(self, batch):
        return [
            Record({}, {"note_age": facts["fake_notes"]["age"], "draw": seed % 1000})
            for facts, seed in zip(batch.facts, batch.seeds, strict=True)
        ]


class EnergyDistance:
    """A metric of another package: the energy distance of the two means."""

    name = "energy_distance"
    title = "Energy distance {of a package}"
    higher = False

    def compute(self, real, synthetic):
        return float(np.linalg.norm(real.mean(0) - synthetic.mean(0)))


class Centre:
    """A membership attack of another package: who is near the middle of the synthetic records."""

    name = "near_the_centre"
    title = "Near the centre"

    def scores(self, synthetic, members, controls, seed):
        return tuple(-np.linalg.norm(rows - synthetic.mean(0), axis=1) for rows in (members, controls))
