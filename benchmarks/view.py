"""How soon the viewer shows a patient of a cohort of 1,000, and what its server takes.

    python benchmarks/view.py [--data DIR] [--quick] [--drawn COHORT]

Draws 24 linked patients from the shipped weights (or takes those of --drawn), and makes a cohort of 1,000 of them: each
further patient is a copy of one of the 24 under an id of its own, its images and signals as links to the same files,
its lines of the health record rewritten. So every patient has an X-ray and an ECG, and the table, the manifest and the
FHIR files have the size that they have at 1,000. --data is accepted for uniformity and not used; --quick makes 100.
Chromium without a window, drawing WebGL in software, opens 20 patients that were drawn, each in a new profile with an
empty cache: from the click on the table's link until X-ray and ECG are drawn. The click comes when the table has loaded
the scripts of the patient page, which it does by itself 0.4 s after it is there. Exits 1 when a bar falls short.
Floor: the same for the page Report, which draws nothing; of memory, the server before the first request.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

PAGE_BAR = 1.0  # s, median
MEMORY_BAR = 250.0  # MB, most
DRAWN, OPENED = 24, 20
ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FILES_OF_LINES = ("fhir/*.ndjson", "notes/*.jsonl")
CLICK = """([link, wanted]) => new Promise((done, failed) => {
    const began = performance.now()
    const look = () => {
        if (wanted.every(one => document.querySelector(one))) done((performance.now() - began) / 1000)
        else if (performance.now() - began > 60000) failed(new Error('it was not drawn in a minute'))
        else requestAnimationFrame(look)
    }
    document.querySelector(link).click(); look() })"""
WARM = "html[data-warm]"  # the page has loaded what a patient's page needs, as it does while one looks at the table
PATIENT = [".part-images[data-drawn]", ".part[data-keys*=signal][data-drawn] canvas, .part-ecg[data-drawn]"]


def drawn(folder: Path) -> Path:
    """A cohort of 24, all modalities."""
    command = [sys.executable, "-m", "polyclinic", "generate", "--cohort", "cardio_oncology", "--seed", "7"]
    subprocess.run(
        [*command, "--patients", str(DRAWN), "--out", str(folder)], check=True, capture_output=True
    )
    return folder


def multiplied(source: Path, folder: Path, patients: int) -> list[str]:
    """A cohort of so many patients, copies of those of `source`; ids of the ones that were drawn."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(source, folder)
    manifest = json.loads((source / "manifest.json").read_text())
    table = pq.read_table(source / "patients.parquet")
    ids = table["patient_id"].to_pylist()
    copies = {f"PC-COPIED-{k:06d}": ids[k % len(ids)] for k in range(patients - len(ids))}
    files, own = manifest["files"], dict[str, list[str]]()
    for name in files:
        if owner := next((part for part in name.split("/") if part in set(ids)), None):
            own.setdefault(owner, []).append(name)
    for copy, original in copies.items():
        for name in own[original]:
            made = name.replace(original, copy)
            (folder / made).parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / name, folder / made)
            files[made] = files[name]
    for pattern in FILES_OF_LINES:
        for path in sorted(source.glob(pattern)):
            lines: dict[str, list[str]] = {}
            for line in path.read_text().splitlines(keepends=True):
                if owner := next((one for one in ids if one in line), None):
                    lines.setdefault(owner, []).append(line)
            with (folder / path.relative_to(source)).open("a") as file:
                for copy, original in copies.items():
                    file.writelines(line.replace(original, copy) for line in lines.get(original, ()))
    rows = [table]
    for copy, original in copies.items():
        row = table.slice(ids.index(original), 1)
        rows.append(row.set_column(0, "patient_id", pa.array([copy])))
    pq.write_table(pa.concat_tables(rows).combine_chunks(), folder / "patients.parquet")
    manifest["patients"] = patients
    for modality in manifest["modalities"].values():
        lacking = set(modality["without_record"])
        modality["without_record"] += [copy for copy, original in copies.items() if original in lacking]
        modality["with_record"] = patients - len(modality["without_record"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ids


def memory(process: int, key: str) -> float:
    """MB of a process: VmHWM is the most it had."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(rf"{key}:\s+(\d+) kB", status)[0]) / 1024


def seconds(browser: Any, address: str, link: str, wanted: list[str]) -> float:
    """From the click on a link of the cohort's page until all that is wanted is there, in a new profile."""
    context = browser.new_context(viewport={"width": 1300, "height": 1600})
    try:
        tab = context.new_page()
        tab.goto(address)
        tab.wait_for_selector(".page[data-ready]", timeout=60_000)
        tab.wait_for_selector(link)
        tab.wait_for_selector(f"{WARM} {link}", timeout=60_000)
        return float(tab.evaluate(CLICK, [link, wanted]))
    finally:
        context.close()


def measured(folder: Path, ids: list[str]) -> tuple[dict[str, float], bool]:
    """Figures by name, and whether the server has loaded torch."""
    from playwright.sync_api import sync_playwright

    command = [
        sys.executable,
        "-m",
        "polyclinic",
        "view",
        str(folder),
        "--port",
        "0",
        "--no-open",
        "--no-generate",
    ]
    began = time.monotonic()
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server,
        sync_playwright() as playwright,
    ):
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            address = re.findall(r"http://\S+/", said)
            assert address, said
            found = {"start": time.monotonic() - began, "memory_before": memory(server.pid, "VmRSS")}
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            pages = [
                seconds(browser, address[0], f"a[href='#/patient/{one}']", PATIENT) for one in ids[:OPENED]
            ]
            floors = [
                seconds(browser, address[0], "a[data-page=report]", ["[role=tabpanel]"]) for _ in range(5)
            ]
            browser.close()
            found |= {"page": median(pages), "slowest": max(pages), "floor": median(floors)}
            found["memory"] = memory(server.pid, "VmHWM")
            torch = "torch" in Path(f"/proc/{server.pid}/maps").read_text()
        finally:
            server.terminate()
    return found, torch


def main() -> int:
    """Print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="not used")
    parser.add_argument("--quick", action="store_true", help="a cohort of 100")
    parser.add_argument(
        "--drawn", type=Path, help="a cohort of 20 patients or more with all records, in place of drawing"
    )
    given = parser.parse_args()
    patients = 100 if given.quick else 1000
    with tempfile.TemporaryDirectory() as place:
        source = given.drawn or drawn(Path(place) / "drawn")
        ids = multiplied(source, Path(place) / "cohort", patients)
        found, torch = measured(Path(place) / "cohort", ids)
    verdicts = [
        ("patient page from the click, s, median of 20", found["page"], found["floor"], PAGE_BAR),
        ("memory of the server, MB, most", found["memory"], found["memory_before"], MEMORY_BAR),
        ("torch in the server's process, 1 is loaded", float(torch), 0.0, 0.0),
    ]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {patients:,} patients"
    )
    print(f"{'figure':48}{'measured':>10}{'floor':>10}{'bar':>8}  verdict")
    for name, value, floor, bar in verdicts:
        print(f"{name:48}{value:10.2f}{floor:10.2f}{bar:8.1f}  {'met' if value <= bar else 'MISSED'}")
    print(f"{'slowest of the 20 pages, s':48}{found['slowest']:10.2f}{'':18}  reported")
    print(f"{'from the command until it listens, s':48}{found['start']:10.2f}{'':18}  reported")
    return 0 if all(value <= bar for _, value, _, bar in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
