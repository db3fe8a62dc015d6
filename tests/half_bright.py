"""A folder of small images of which the left half is bright, for tests of trainings."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

SIDE = 16


def halves(place: Path, symmetry: str) -> Path:
    """Images of SIDE x SIDE with a little noise."""
    random = np.random.default_rng(0)
    place.mkdir()
    rows = []
    for n in range(60):
        image = np.where(np.arange(SIDE) < SIDE // 2, 200, 50) + 8 * random.standard_normal((SIDE, SIDE))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(place / f"{n}.png")
        rows.append({"patient_id": f"P{n}", "record": f"{n}.png"})
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    options = {"modality": "imaging", "shows": {"body_part": "SKIN"}, "symmetry": symmetry}
    known = {"name": "made up", "licence": "CC0", "split": None, "test_share": 0, "options": options}
    (place / "dataset.yaml").write_text(yaml.safe_dump(known))
    return place
