"""A private prior on a network of few evaluations keeps their number, and the network is no flow to train further."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from polyclinic.app.training import Privacy, train
from polyclinic.core.errors import InputError
from polyclinic.core.training.weights import Weights, load, read_card

NETWORK = {"size": 16, "widths": [16, 32], "attention": [False, False], "head": 16, "components": 8}


def test_a_private_prior_keeps_the_number_of_evaluations(tmp_path: Path) -> None:
    random, data = np.random.default_rng(0), tmp_path / "data"
    data.mkdir()
    for n in range(60):
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(data / f"{n}.png")
    rows = pd.DataFrame(
        {"patient_id": [f"P{n}" for n in range(60)], "record": [f"{n}.png" for n in range(60)]}
    )
    rows.to_csv(data / "patients.csv", index=False)
    options = {"modality": "imaging", "shows": {"body_part": "CHEST"}}
    known = {"name": "made up", "licence": "CC0", "split": None, "test_share": 0, "options": options}
    (data / "dataset.yaml").write_text(yaml.safe_dump(known))

    def config(rank: int = 4, **model: object) -> str:
        path = tmp_path / "config.yaml"
        model |= {"network": NETWORK, "prior": {"rank": rank}}
        path.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
        return str(path)

    flow, few, out = (tmp_path / f"{name}.safetensors" for name in ("flow", "few", "out"))
    train("imaging", data, flow, Privacy(), config=config(training={"steps": 2}))
    made = load(flow)
    card = made.card.model_copy(update={"model": {**made.card.model, "evaluations": 2}})
    Weights(made.tensors, card).save(few)
    budget = Privacy(8, 1e-3, tmp_path / "ledger.jsonl")
    with pytest.raises(InputError, match="is no flow to train further"):
        train("imaging", data, out, budget, config=config(training={"steps": 3}), init=str(few))
    wider = config(rank=6, training={"steps": 0}, prior_mismatch="ignore")
    with pytest.raises(InputError, match="has learnt to draw in few evaluations from 4 coarse components"):
        train("imaging", data, out, budget, config=wider, init=str(few))
    assert not (tmp_path / "ledger.jsonl").exists()
    private = config(training={"steps": 0}, prior_mismatch="ignore")
    train("imaging", data, out, budget, config=private, init=str(few))
    assert read_card(out).model["evaluations"] == 2
