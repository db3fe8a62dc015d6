"""Small inputs in the shapes that real exports have: each is read as it should be, or refused in one line.

    python benchmarks/cases.py [--cases DIR] [--only NAME ...]

DIR (default ../shared/cases) holds `make.py NAME OUT`, which writes a made-up input and prints the command to run; the
siblings here are written with the modules beside it. Each runs through the command line in a process of its own.
Prints a line a case: exit code, whether it is right, and what was said. A case is silent where something is wrong and
nothing was said; a traceback counts whatever follows. Exits 1 unless all are right. Without DIR it prints one line.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Check = Callable[["Ran"], bool]
SERIES = "--config {cases}/vitals_small.yaml --public --max-minutes 0.02 --precision 32-true"


@dataclass(frozen=True)
class Ran:
    """What a command came to: exit code, standard error, whether it fell, and the folder of its input."""

    code: int
    said: str
    fell: bool
    folder: Path

    @property
    def refused(self) -> bool:
        """One line, exit code 2; remarks on what was read may stand before it."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        return self.code == 2 and bool(lines) and all(line.startswith("polyclinic: ") for line in lines)


def says(pattern: str) -> Check:
    return lambda ran: re.search(pattern, ran.said) is not None


def refused(pattern: str) -> Check:
    return lambda ran: ran.refused and says(pattern)(ran)


def done(check: Check = lambda ran: True) -> Check:
    return lambda ran: ran.code == 0 and check(ran)


# -- what was read


def records(folder: Path) -> list[Any]:
    """Records of all train rows, as training has them."""
    from polyclinic import load_modality
    from polyclinic.app.training import read_config
    from polyclinic.conditioning.dataset.dataset import read_training_set

    (part,) = read_config("signals", folder, None, "x").datasets
    data = read_training_set(part, folder, "train")
    return list(load_modality(str(part.options["modality"])).load(data))


def charted(folder: Path) -> np.ndarray:
    """(stay, hour) heart rates of all stays."""
    return np.stack([record.arrays["vitals"][:, 0] for record in records(folder)])


def all_charted(ran: Ran) -> bool:
    found = charted(ran.folder)
    return bool(found.shape[1] == 24 and np.isfinite(found).mean() > 0.99 and 60 < np.nanmean(found) < 100)


def of_every_fourth_hour(ran: Ran) -> bool:
    there = np.isfinite(charted(ran.folder)).mean(0) > 0.99
    return bool((there == (np.arange(24) % 4 == 0)).all())


def as_shown(ran: Ran) -> bool:
    """Images as pydicom shows them, or as they were made."""
    import pydicom
    from dicoms import picture
    from pydicom.pixels import apply_voi_lut

    from polyclinic.modalities.imaging.formats.files import read_image

    path = sorted(ran.folder.glob("*.dcm"))[0]
    dataset = pydicom.dcmread(path)
    looked_up = "VOILUTSequence" in dataset
    expected = apply_voi_lut(dataset.pixel_array, dataset) if looked_up else dataset.pixel_array.astype(float)
    sign = -1.0 if getattr(dataset, "RescaleSlope", 1) < 0 else 1.0
    found = read_image(path).astype(float)
    assert picture().ndim == 2
    return bool(np.ptp(found) > 100 and sign * np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99)


def lead_two(ran: Ran) -> bool:
    """All ECGs are read, and lead II spans what it was made with."""
    from polyclinic.modalities.signals.export import read_ecg

    table = pd.read_csv(ran.folder / "p.csv")
    found = [read_ecg(ran.folder / name) for name in table["file"]]
    return all(ecg.shape == (12, 5000) and 1.2 < np.ptp(ecg[1]) < 1.5 for ecg in found)


def fhir(ran: Ran, column: str) -> pd.Series:
    from polyclinic.conditioning.dataset.fhir_bulk import read_fhir

    with contextlib.redirect_stderr(io.StringIO()):
        return read_fhir(ran.folder, "id", [column])[column]


def hypertension(ran: Ran) -> bool:
    return bool(0.3 < pd.to_numeric(fhir(ran, "condition:I10")).mean() < 0.5)


def nobody_measured(ran: Ran) -> bool:
    return bool(pd.to_numeric(fhir(ran, "condition:I10")).fillna(0).sum() == 0) and says("entered in error")(
        ran
    )


def pressures(ran: Ran) -> bool:
    return bool(120 < pd.to_numeric(fhir(ran, "observation:8480-6")).mean() < 140)


def samples(ran: Ran) -> bool:
    """Every sample has every assay."""
    found = records(ran.folder)
    return len(found) == 96 and all({"rna"} <= set(record.arrays) for record in found)


def both_assays(ran: Ran) -> bool:
    return all({"rna", "mirna"} <= set(record.arrays) for record in records(ran.folder))


def judged(ran: Ran) -> bool:
    return (ran.folder.parent / "rep" / "scores.json").is_file()


HANDED: dict[str, Check] = {
    "neg_slope": done(as_shown),
    "lut_ow": lambda ran: as_shown(ran) and (ran.code == 0 or says("would do|needed")(ran)),
    "few_images": lambda ran: ran.code == 0 or refused("would do|needed|at least")(ran),
    "blank_id": refused("rows have no 'mrn'"),
    "nifti_flat_axis": refused("affine"),
    "vitals_padded_ids": done(all_charted),
    "vitals_float_ids": done(all_charted),
    "vitals_two_rows": done(all_charted),
    "vitals_sparse": done(of_every_fourth_hour),
    "wfdb_segments": lead_two,
    "vitals_fahrenheit": says(r"\d+ readings of Temp .*Fahrenheit.*scale"),
    "vitals_word": done(lambda ran: all_charted(ran) and says("1 cells of O2Sat")(ran)),
    "vitals_hour_words": done(all_charted),
    "vitals_csv": done(all_charted),
    "eval_constant": done(judged),
    "eval_one_hour": done(judged),
    "fhir_absolute": done(hypertension),
    "fhir_error_status": done(nobody_measured),
    "fhir_components": done(pressures),
    "fhir_null": says(r"Observation\.ndjson.*line 8"),
    "fhir_plain": done(says("plan:")),
    "omics_padded_ids": done(samples),
    "omics_lost_assay": done(both_assays),
    "edf_idle_channel": lead_two,
    "edf_micro_sign": lead_two,
    "wfdb_rate_0": refused("rate"),
    "wfdb_second_II": refused("II is there 2 times"),
}


# -- siblings: a writer, which gives the command, and what is right


def _chart(**how: Any) -> Callable[[Path], str]:
    def write(out: Path) -> str:
        import vitals

        vitals.make(out, **how)
        return f"polyclinic train signals --data {out} --out x.safetensors {SERIES}"

    return write


def _ids(names: Callable[[int], str], fmt: str = "csv") -> Callable[[Path], str]:
    return _chart(tkey=names, fmt=fmt)


def _fhir(
    command: str = "--public", renamed: Callable[[Path], None] | None = None, **how: Any
) -> Callable[[Path], str]:
    def write(out: Path) -> str:
        import fhir_bulk

        fhir_bulk.make(out, **how)
        if renamed:
            renamed(out)
        return f"polyclinic train population --data {out} --out x.safetensors {command}"

    return write


def _parts(out: Path) -> None:
    """Patients in two gzipped parts."""
    import gzip

    lines = (out / "Patient.ndjson").read_bytes().splitlines(keepends=True)
    for number, part in enumerate((lines[:700], lines[700:])):
        (out / f"Patient.{number:03d}.ndjson.gz").write_bytes(gzip.compress(b"".join(part)))
    (out / "Patient.ndjson").unlink()


def _contained(patients: list[Any], conditions: list[Any], observations: list[Any]) -> None:
    """Conditions that hold their patient, who is known by an identifier."""
    for condition in conditions:
        own = condition["subject"]["reference"].removeprefix("Patient/")
        condition["contained"] = [
            {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:x", "value": own}]}
        ]
        condition["subject"] = {"reference": "#p"}
    for patient in patients:
        patient["identifier"] = [{"system": "urn:x", "value": patient["id"]}]


def _omics(names: Callable[[int], str], fmt: str = "csv") -> Callable[[Path], str]:
    def write(out: Path) -> str:
        import make

        command = make._omics(out, fmt, [names(i) for i in range(120)])
        return str(command)

    return write


def _old_anndata(out: Path) -> str:
    """An h5ad as anndata 0.7 wrote it: obs and var are arrays of records."""
    import h5py
    import make

    command = str(make._omics(out, "csv", [f"S{i}" for i in range(120)]))
    table = pd.read_csv(out / "r.csv", index_col=0)
    with h5py.File(out / "r.h5ad", "w") as file:
        file["X"] = table.to_numpy(np.float32)
        file["obs"] = np.array([(name.encode(),) for name in table.index], dtype=[("index", "S8")])
        file["var"] = np.array([(name.encode(),) for name in table.columns], dtype=[("index", "S12")])
    described = (out / "dataset.yaml").read_text().replace("r.csv", "r.h5ad")
    (out / "dataset.yaml").write_text(described)
    return command


def _ecg(writer: str, **how: Any) -> Callable[[Path], str]:
    def write(out: Path) -> str:
        import ecgs
        import make

        def one(folder: Path, number: int, signal: np.ndarray) -> str:
            if writer == "edf twice":
                labels = [f"ECG {lead}" for lead in ecgs.LEADS] + ["ECG II"]
                doubled = np.vstack([signal, 0 * signal[:1]])
                return str(ecgs.edf(folder / f"{number}.edf", doubled, labels=labels).name)
            path = Path(ecgs.edf(folder / f"{number}.edf", signal))
            content = bytearray(path.read_bytes())
            content[244:252] = b"0       "  # duration of a data record
            path.write_bytes(content)
            return path.name

        return str(make._ecg(out, one))

    return write


def _odd(i: int) -> str:
    return {0: "NA", 1: "null", 2: "NaN", 3: "None"}.get(i, f"P{i}")


def _fraction(series: pd.DataFrame) -> pd.DataFrame:
    return series.assign(O2Sat=(series.O2Sat / 100).round(3))


def _dated(series: pd.DataFrame) -> pd.DataFrame:
    return series.assign(
        hour=(pd.Timestamp("2024-03-30 20:00") + pd.to_timedelta(series.hour, "h")).astype(str)
    )


def _blank(series: pd.DataFrame) -> pd.DataFrame:
    return series.assign(patient_id=series.patient_id.mask(series.index % 50 == 7, " "))


def half_hours(ran: Ran) -> bool:
    """24 readings, half an hour apart, are averaged to twelve hours, and the rest is not charted."""
    found = charted(ran.folder)
    return bool(np.isfinite(found[:, :12]).all() and not np.isfinite(found[:, 12:]).any())


SIBLINGS: dict[str, tuple[Callable[[Path], str], Check]] = {
    "hours as dates and times": (_chart(mut=_dated), done(all_charted)),
    "half-hours": (_chart(mut=lambda s: s.assign(hour=s.hour / 2)), done(half_hours)),
    "ids 101E2 of charts": (_ids(lambda i: f"{100 + i}E2"), done(all_charted)),
    "ids NA, null, NaN, None of charts": (_ids(_odd), done(all_charted)),
    "ids with blanks at their ends": (_chart(skey=lambda i: f" {i + 1:04d} ", fmt="csv"), done(all_charted)),
    "blank ids in a series": (
        _chart(mut=_blank, fmt="csv"),
        lambda ran: (ran.code == 0 or ran.refused) and says("no (id|'?patient_id)|without|empty|blank")(ran),
    ),
    "oxygen saturation as a fraction": (_chart(mut=_fraction), says(r"O2Sat.*scale")),
    "ids 101E2 of samples": (_omics(lambda i: f"{100 + i}E2"), done(samples)),
    "ids NA and null of samples": (_omics(_odd), done(samples)),
    "a blank id of a sample": (_omics(lambda i: " " if i == 5 else f"S{i}"), refused("no |blank|empty")),
    "AnnData of before 0.8": (_old_anndata, refused("resave")),
    "versioned references": (_fhir(ref="Patient/{}/_history/3"), done(hypertension)),
    "contained references": (_fhir(extra=_contained), done(hypertension)),
    "patients in gzipped parts": (_fhir(renamed=_parts), done(hypertension)),
    "delta 1e-30": (
        _fhir("--epsilon 1 --delta 1e-30"),
        lambda ran: (ran.code == 0 and says("plan:")(ran)) or ran.refused,
    ),
    "EDF with a lead twice": (_ecg("edf twice"), refused("II is there 2 times")),
    "EDF of duration 0": (_ecg("edf 0"), refused("duration")),
}


# -- running


def run(name: str, write: Callable[[Path], str], check: Check, cases: Path) -> tuple[bool, bool, bool, str]:
    """Whether it is right, fell, was silent, and a line; in this process."""
    from polyclinic.core.remarks import remarks

    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        folder = Path(place) / "in"
        command = write(folder).split("   #")[0].replace("{cases}", str(cases))
        if name.startswith("eval_"):
            command = (
                "polyclinic generate --cohort icu --patients 40 --seed 3 --modalities signals --workers 1 --out coh; "
                f"polyclinic evaluate coh --reference {folder} --out rep --quick"
            )
        code, said, fell = 0, "", False
        for one in command.split(";"):
            words = shlex.split(one)
            if words[:1] != ["polyclinic"]:
                continue
            ended, text, fallen = called(words[1:])
            code, said, fell = code or ended, said + text, fell or fallen
        ran = Ran(code, said, fell, folder)
        with remarks(lambda text: None):
            right = not fell and bool(check(ran))
        last = said.strip().splitlines()[-1:] or ["(nothing said)"]
        return right, fell, not right and not fell and not said.strip(), f"exit {code}: {last[0][:150]}"


def called(words: list[str]) -> tuple[int, str, bool]:
    """Exit code, standard error and whether there was a traceback."""
    from polyclinic.app.cli import main

    sys.argv = ["polyclinic", *words]
    said, code, fell = io.StringIO(), 0, False
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            code, fell = 1, True
            said.write(traceback.format_exc())
    return code, said.getvalue(), fell or "Traceback" in said.getvalue()


def in_child(job: tuple[str, str]) -> tuple[bool, bool, bool, str]:
    """run() for the worker of a pool."""
    name, cases = job
    sys.path.insert(0, cases)
    if name in SIBLINGS:
        return run(name, *SIBLINGS[name], Path(cases))

    def handed(folder: Path) -> str:
        command = [sys.executable, f"{cases}/make.py", name, str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip().splitlines()[-1]

    return run(name, handed, HANDED[name], Path(cases))


def main() -> int:
    """Print the table; 0 if all are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", default="../shared/cases", type=Path)
    parser.add_argument("--only", nargs="+", default=[*HANDED, *SIBLINGS])
    arguments = parser.parse_args()
    if not (arguments.cases / "make.py").is_file():
        print(f"{arguments.cases}/make.py: no such file; nothing is run (see --cases)")
        return 0
    right = fell = silent = 0
    with get_context("spawn").Pool(1, maxtasksperchild=12) as pool:
        for name in arguments.only:
            began = time.monotonic()
            good, fallen, quiet, line = pool.apply(in_child, ((name, str(arguments.cases.resolve())),))
            right, fell, silent = right + good, fell + fallen, silent + quiet
            verdict = "right" if good else "TRACEBACK" if fallen else "SILENT" if quiet else "WRONG"
            print(f"{name:34} {verdict:9} {time.monotonic() - began:4.0f} s  {line}", flush=True)
    count = len(arguments.only)
    print(f"cases and siblings: {right} right of {count}, {fell} tracebacks, {silent} silent")
    return 0 if right == count else 1


if __name__ == "__main__":
    sys.exit(main())
