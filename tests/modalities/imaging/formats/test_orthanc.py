"""A PACS takes our files: Orthanc stores each kind and compression, decodes it itself, and gives it back."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile, seed_for, uid_for
from polyclinic.modalities.imaging.export import CODECS, ExportOptions, export

RNG = np.random.default_rng(0)
IMAGES = {
    "DX": RNG.integers(0, 4096, (40, 56)).astype(np.uint16),
    "CR": RNG.integers(0, 4096, (40, 56)).astype(np.uint16),
    "CT": RNG.integers(0, 4096, (3, 32, 40)).astype(np.uint16),
    "MR": RNG.integers(0, 4096, (3, 32, 40)).astype(np.uint16),
    "SC": RNG.integers(0, 256, (33, 35, 3)).astype(np.uint8),
}
# Orthanc listens on all interfaces, so it and its client live in a network namespace of their own.
ALONE = ("unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "bash")
CLIENT = r"""
import json, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path

home = Path(sys.argv[1])
server = subprocess.Popen(["Orthanc", str(home / "orthanc.json")])

def ask(path, data=None, kind="application/dicom"):
    headers = {"Accept": kind} if data is None else {}
    return urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8042" + path, data, headers)).read()

try:
    for _ in range(300):
        try:
            ask("/system", kind="*/*")
            break
        except urllib.error.URLError:
            assert server.poll() is None, "Orthanc ended"
            time.sleep(0.1)
    for path in sorted((home / "sent").rglob("*.dcm")):
        answer = json.loads(ask("/instances", path.read_bytes()))
        assert answer["Status"] == "Success", answer
        where = "/instances/" + answer["ID"]
        (home / f"{path.stem}.dcm").write_bytes(ask(where + "/file"))
        if "-j2k" in str(path):  # kept as it is: Orthanc decodes JPEG 2000 only with a plugin
            continue
        colour = json.loads(ask(where + "/simplified-tags", kind="*/*"))["SamplesPerPixel"] == "3"
        shown = "/preview" if colour else "/frames/0/image-uint16"
        (home / f"{path.stem}.png").write_bytes(ask(where + shown, kind="image/png"))
    (home / "counts.json").write_bytes(ask("/statistics", kind="*/*"))
finally:
    server.terminate()
    server.wait(30)
"""


def reason_to_skip() -> str | None:
    if shutil.which("Orthanc") is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc)"
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], check=False).returncode:
        return "no network namespaces here, and Orthanc would listen on all interfaces"
    return None


@pytest.mark.slow
def test_orthanc_stores_and_decodes_every_kind(tmp_path: Path) -> None:
    if reason := reason_to_skip():
        pytest.skip(reason)
    sent: dict[str, tuple[bytes, np.ndarray]] = {}
    for compression in ("none", *CODECS):
        for iod, image in IMAGES.items():
            patient = f"{iod}-{compression}"
            seed = seed_for(0, patient, "imaging")
            facts = {
                "findings": ["J90"], "view": None, "body_part": "CHEST", "iod": iod, "derivation": "noise",
                "study_uid": uid_for(seed, "study"), "series_uid": uid_for(seed, "series"),
                "instance_uid": uid_for(seed, "instance"), "pixel_spacing_mm": 1.5, "slice_spacing_mm": 3.0,
                "slices": len(image) if iod in ("CT", "MR") else 1,
            }  # fmt: skip
            options = ExportOptions.model_validate({"compression": compression})
            profile = PatientProfile(patient, 60.0, "F")
            paths = export([Record({"image": image}, facts)], [profile], tmp_path / "sent", options)
            for path, pixels in zip(paths, image if iod in ("CT", "MR") else [image], strict=True):
                sent[path.stem] = (path.read_bytes(), pixels)
    settings = {
        "StorageDirectory": str(tmp_path / "store"), "IndexDirectory": str(tmp_path / "store"),
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": False, "Plugins": [],
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    subprocess.run([*ALONE, sys.executable, "-c", CLIENT, str(tmp_path)], check=True, timeout=300)
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["CountInstances"] == len(sent)
    assert counts["CountSeries"] == counts["CountPatients"] == len(IMAGES) * (1 + len(CODECS))
    undecoded = 0
    for uid, (file, pixels) in sent.items():
        assert (tmp_path / f"{uid}.dcm").read_bytes() == file
        np.testing.assert_array_equal(pydicom.dcmread(tmp_path / f"{uid}.dcm").pixel_array, pixels)
        if not (picture := tmp_path / f"{uid}.png").exists():
            undecoded += 1
            continue
        with Image.open(picture) as decoded:
            np.testing.assert_array_equal(np.asarray(decoded), pixels, err_msg=uid)
    assert undecoded == len(sent) // (1 + len(CODECS))  # the JPEG 2000 files
