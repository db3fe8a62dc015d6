"""Parcel: a job with all that a worker on another machine lacks; its machine has the package and its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...conditioning.population import Population
from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.errors import InputError
from ...core.instance_name import stem_of
from ...core.training import weights
from .generation import versions
from .job import Job, population_of
from .use import recorded

COHORT, KEY = "cohort", "watermark.key"


@dataclass(frozen=True)
class Parcel:
    """A cohort's manifest and patients, and the content of the user's own files, by path below a worker's folder."""

    manifest: Mapping[str, Any]
    population: Population
    files: Mapping[str, bytes]
    batch_size: int
    device: str

    @classmethod
    def of(cls, job: Job) -> "Parcel":
        """Of a job on this machine. Raises InputError where weights that were named are gone."""
        cohort = Cohort.open(job.folder)
        manifest, found, files = dict(cohort.manifest), recorded(cohort), dict[str, bytes]()
        if use := manifest.get("use"):
            if lost := [name for name in use if name not in found]:
                raise InputError(
                    f"{job.folder}: the weights {lost[0]} are gone or changed; name them with --use"
                )
            places = {name: f"use/{stem_of(name)}.safetensors" for name in use}
            files = {place: found[name].read_bytes() for name, place in places.items()}
            manifest["use"] = {name: f"../{place}" for name, place in places.items()}
        if job.watermark is not None:
            files[KEY] = job.watermark.read_bytes()
        people = job.population or population_of(cohort)
        return cls(manifest, people, files, job.batch_size, job.device)

    def unpacked(self, home: Path) -> Job:
        """The job of a worker, in a folder of its own. Raises InputError where its package or weights are others."""
        for name, content in self.files.items():
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).write_bytes(content)
        folder = home / COHORT
        folder.mkdir()
        (folder / MANIFEST).write_text(json.dumps(self.manifest), encoding="utf-8")
        for name, version in self.manifest["software"].items():
            if (here := versions().get(name)) != version:
                raise InputError(
                    f"has {name} {here}, the cohort is drawn with {version}; install the same on all nodes"
                )
        for name, digest in self.manifest["weights"].items():
            there = weights.place_of(name) if name not in self.manifest.get("use", {}) else None
            if there is not None and weights.digest(there) != digest:
                raise InputError(
                    f"has other weights {name} than the cohort; install the same, or name them with --use"
                )
        key = home / KEY if KEY in self.files else None
        return Job(folder, self.batch_size, key, self.device, population=self.population)
