"""Sheets of 64 images, the first 64 patients of a cohort, none chosen, as docs/img/sheet-NAME.jpg.

    python docs/make_sheets.py [imaging] [imaging:skin]

X-rays are of `adults`, seed 1; of photographs of skin every third patient has a melanoma. No real record is shown.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from polyclinic import Batch, PatientProfile, Population, ProfileEncoder, load_modality, seed_for
from polyclinic.core.fields import SHIPPED

SEED, SIDE, ACROSS = 1, 160, 8  # pixels a side of each image
OUT = Path(__file__).parent / "img"


def main(names: list[str]) -> None:
    """Draw, and write a sheet for each modality."""
    for name in names or ["imaging", "imaging:skin"]:
        people = list(Population.load("adults").draw(ACROSS**2, seed=SEED))
        if name == "imaging:skin":
            people = [
                PatientProfile(p.patient_id, age=p.age, sex=p.sex, conditions={"melanoma": place % 3 == 0})
                for place, p in enumerate(people)
            ]
        modality = load_modality(name)
        encoder = ProfileEncoder.of(SHIPPED, modality.weights())
        seeds = tuple(seed_for(SEED, p.patient_id, name) for p in people)
        records = modality.generator(encoder.columns).sample(
            Batch(tuple(people), encoder.encode(people), seeds)
        )
        tiles = []
        for record in records:
            pixels = record.arrays["image"]
            eight = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 4095 * 255).astype(np.uint8)
            tiles.append(np.asarray(Image.fromarray(eight).resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
        lines = [np.concatenate(tiles[i : i + ACROSS], axis=1) for i in range(0, len(tiles), ACROSS)]
        path = OUT / f"sheet-{name.replace(':', '-')}.jpg"
        Image.fromarray(np.concatenate(lines)).save(path, quality=80, optimize=True)
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
