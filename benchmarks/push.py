"""How fast `polyclinic push` is, beside dcmtk's storescu and a plain loop, and what is held after kills.

    python benchmarks/push.py [--quick] [--images N] [--rate N] [--repeats N]

To Orthanc with its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb, dcmtk), in a network namespace. X-rays of
the shipped weights, copied under UIDs of their own. Rate: --rate images (200) each way, alternately with the peer,
--repeats times (3), medians; the archive is emptied before each. Ours counts from the first request to the last line of
the journal, without the start of Python; storescu is a whole process, with TCP_NODELAY and without; the loop is httpx2,
one connection, an image a request. Kills: --images images (1,000) by either way, SIGKILL once 20, 50 and 80 % are
there, then the same command once more. --quick: 40 images. --data is accepted for uniformity and not used. Exits 1
where a bar is missed. Bars: as fast as the peer at least; 100 % held, and each has arrived once.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pydicom
from push_servers import Orthanc, no_orthanc, orthanc
from pydicom.uid import generate_uid

LOOP = r"""
import sys, time
from pathlib import Path
import httpx2
files, head = sorted(Path(sys.argv[1]).rglob("*.dcm")), b"--b\r\nContent-Type: application/dicom\r\n\r\n"
kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b', "Accept": "application/dicom+json"}
began = time.monotonic()
with httpx2.Client(trust_env=False) as client:
    for file in files:
        body = head + file.read_bytes() + b"\r\n--b--\r\n"
        client.post("http://127.0.0.1:8042/dicom-web/studies", content=body, headers=kind).raise_for_status()
print(time.monotonic() - began)
"""
STOPS = (0.2, 0.5, 0.8)  # shares that are there when the push is killed


def drawn(home: Path, patients: int) -> list[Path]:
    """X-rays of the shipped weights."""
    import polyclinic as pc

    pc.generate_cohort(
        "cardio_oncology", patients, out=home / "drawn", seed=7, modalities=["imaging"], workers=1
    )
    return sorted((home / "drawn").rglob("*.dcm"))


def cohort(folder: Path, some: list[Path], images: int) -> Path:
    """A finished cohort of so many images: copies with UIDs and patients of their own."""
    files = {}
    for number in range(images):
        tags = pydicom.dcmread(some[number % len(some)])
        tags.StudyInstanceUID, tags.SeriesInstanceUID = generate_uid(None), generate_uid(None)
        tags.SOPInstanceUID = tags.file_meta.MediaStorageSOPInstanceUID = generate_uid(None)
        tags.PatientID = f"SYN-{number}"
        path = folder / "dicom" / tags.PatientID / f"{tags.SOPInstanceUID}.dcm"
        path.parent.mkdir(parents=True)
        tags.save_as(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        files[path.relative_to(folder).as_posix()] = {"sha256": sha256, "bytes": path.stat().st_size}
    manifest = {
        "format": "polyclinic-cohort", "format_version": 2, "status": "complete", "patients": images,
        "modalities": {"imaging": {}}, "files": files,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def command(archive: Orthanc, folder: Path, to: str, journal: Path) -> list[str]:
    """Our push of a cohort."""
    words = ["push", str(folder), "--to", to, "--unreleased", "--journal", str(journal)]
    return archive.inside(sys.executable, "-m", "polyclinic", *words)


def ours(archive: Orthanc, folder: Path, to: str) -> float:
    """Seconds of a push, as it says them itself."""
    with tempfile.TemporaryDirectory() as place:
        words = command(archive, folder, to, Path(place) / "j.jsonl")
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = re.search(r" in ([\d.]+) s", said)
    assert found, said
    return float(found[1])


def storescu(archive: Orthanc, folder: Path, nodelay: bool) -> float:
    """Seconds of dcmtk's process."""
    words = archive.inside(
        "/usr/bin/storescu", "-aec", "ORTHANC", "+sd", "+r", "127.0.0.1", "4242", str(folder / "dicom")
    )
    began = time.monotonic()
    subprocess.run(
        words, check=True, capture_output=True, env={**os.environ, "TCP_NODELAY": "1" if nodelay else "0"}
    )
    return time.monotonic() - began


def loop(archive: Orthanc, folder: Path) -> float:
    """Seconds of a request after the other."""
    words = archive.inside(sys.executable, "-c", LOOP, str(folder))
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def rates(
    archive: Orthanc, images: int, repeats: int, ways: dict[str, Callable[[], float]]
) -> dict[str, float]:
    """Images a second of each way, medians of alternate runs into an empty archive."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            archive.empty()
            seconds[name].append(way())
            if archive.holds() != images:
                raise SystemExit(f"{name}: {archive.holds()} of {images} are there")
    return {name: images / statistics.median(taken) for name, taken in seconds.items()}


def killed(archive: Orthanc, folder: Path, to: str, images: int, journal: Path) -> tuple[int, int, int]:
    """How many are held after kills and a last run, how many arrived as new, and how many kills hit a running push."""
    archive.empty()
    words, hits = command(archive, folder, to, journal), 0
    for share in STOPS:
        running = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
        while archive.holds() < share * images and running.poll() is None:
            time.sleep(0.02)
        hits += running.poll() is None
        os.killpg(running.pid, signal.SIGKILL) if running.poll() is None else None
        running.wait()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return archive.holds(), archive.arrivals(), hits


def row(figure: str, measured: str, floor: str, bar: str, good: bool) -> None:
    """A line of the table."""
    print(f"| {figure} | {measured} | {floor} | {bar} | {'met' if good else 'MISSED'} |", flush=True)


def main() -> None:
    """Print a table, and exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data")
    asked = parser.parse_args()
    if reason := no_orthanc():
        raise SystemExit(f"this benchmark needs Orthanc: {reason}")
    if shutil.which("storescu", path="/usr/bin") is None:
        raise SystemExit("this benchmark needs dcmtk's storescu (Debian: apt-get install dcmtk)")
    images, number, repeats = (40, 40, 1) if asked.quick else (asked.images, asked.rate, asked.repeats)
    print(f"{platform.platform()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}\n")
    bad = 0
    with tempfile.TemporaryDirectory() as place, orthanc(Path(place)) as archive:
        home = Path(place)
        some = drawn(home, 8)
        folder = cohort(home / "rate", some, number)
        size = sum(path.stat().st_size for path in folder.rglob("*.dcm")) / number / 1000
        print(
            f"{number} images of {size:.0f} kB for rates, {images} for kills, load {os.getloadavg()[0]:.1f}\n"
        )
        print("| figure | measured | floor | bar | |\n|---|---|---|---|---|")
        pairs = (
            ("STOW-RS", Orthanc.WEB, {"httpx2 loop": lambda: loop(archive, folder)}),
            ("C-STORE", Orthanc.DIMSE, {
                "storescu": lambda: storescu(archive, folder, False),
                "storescu, TCP_NODELAY": lambda: storescu(archive, folder, True),
            }),
        )  # fmt: skip
        for way, to, peers in pairs:
            mine = {"push": lambda to=to: ours(archive, folder, to)}  # type: ignore[misc]
            found = rates(archive, number, repeats, {**mine, **peers})
            for peer in peers:
                good = found["push"] >= found[peer]
                row(
                    f"{way}, images a second",
                    f"{found['push']:.0f}",
                    f"{found[peer]:.0f} ({peer})",
                    "the floor",
                    good,
                )
                bad += not good
        folder = cohort(home / "kills", some, images)
        for way, to, _ in pairs:
            held, came, hits = killed(archive, folder, to, images, home / f"{way}.jsonl")
            good = (held, came) == (images, images)
            bad += not good
            row(
                f"{way}, after {hits} kills: held / arrived",
                f"{held} / {came}",
                "",
                f"{images} / {images}",
                good,
            )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
