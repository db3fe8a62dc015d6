"""Resample: another draw of some modalities for the same patients, their links kept."""

from collections.abc import Mapping
from pathlib import Path

from ...core.cohort.cohort import Cohort
from ...core.cohort.watermark import Mark
from ...core.errors import InputError
from ..engines.generation import header, run
from ..engines.job import chosen_of, population_of


def resample(
    cohort: Cohort,
    out: Path,
    resampled: Mapping[str, int],
    number: int,
    *,
    watermark: Path | None = None,
    workers: int | None = None,
) -> Cohort:
    """The same patients in a new folder, some modalities resampled: `resampled` gives the draw of each by name.

    The other modalities' records are the same again, but for what they state of those drawn resampled. `number`
    counts the cohorts drawn, this one included, and stands in the manifest. Raises InputError when weights or
    software are no longer those of the first cohort, or its watermark's key is not given.
    """
    same = {key: cohort.manifest[key] for key in ("seed", "patients", "population", "weights", "software")}
    options = {n: own["options"] for n, own in cohort.manifest["modalities"].items() if "options" in own}
    settings = header(population_of(cohort), chosen_of(cohort), cohort.patients, int(same["seed"]), options)
    for key, there in same.items():
        if settings[key] != there:
            raise InputError(
                f"{cohort.folder}: cannot draw again, the {key} in force differ from those of its manifest"
            )
    if mark := cohort.manifest.get("watermark"):
        Mark.named(mark["key"], watermark)
        settings["watermark"] = mark
    settings["draw"] = {
        "number": number,
        "resampled": {name: draw for name, draw in resampled.items() if draw},
    }
    again = Cohort.resume(out, settings)
    if not again.complete:
        run(again, workers, watermark=watermark)
    return again
