"""Training an upsampler: what does not fit is told in one line before anything is learnt."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from half_bright import halves

from polyclinic import InputError
from polyclinic.app.training import Privacy, train

SMALL = {"size": 16, "width": 8, "blocks": 1, "factor": 2}


def learn(place: Path, model: dict[str, Any], **more: Any) -> None:
    config = place / "model.yaml"
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    data = halves(place / "data", "none")
    train("imaging", data, place / "out.safetensors", Privacy(), config=str(config), **more)


@pytest.mark.parametrize(
    ("network", "training", "init", "message"),
    [
        ({}, {"crop": 7}, None, r"model.training.crop: expected a multiple of 2 .* up to 16 .*, got 7"),
        ({}, {"crop": 32}, None, r"model.training.crop: expected a multiple of 2 .* up to 16 .*, got 32"),
        ({"size": 15}, {}, None, "size must be divisible by factor"),
        ({"factor": 3}, {}, None, "model.network: factor: Input should be 2 or 4, got 3"),
        ({}, {"crop": 8}, "imaging", r"expected a flow of 8 x 8 pixels and 1 channel\(s\), got 64 x 64 and 1;"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    network: dict[str, Any], training: dict[str, Any], init: str | None, message: str, tmp_path: Path
) -> None:
    model = {"kind": "upsampler", "network": {**SMALL, **network}, "training": {"steps": 1, **training}}
    with pytest.raises(InputError, match=message):
        learn(tmp_path, model, init=init)
    assert not (tmp_path / "out.safetensors").exists()


def test_an_upsampler_of_other_channels_is_refused_before_training(tmp_path: Path) -> None:
    shows = {"body_part": "SKIN", "upsampler": "imaging_skin_upsampler"}
    network = {"size": 16, "widths": [16, 32], "attention": [False, False], "head": 16, "components": 4}
    with pytest.raises(
        InputError, match=r"imaging_skin_upsampler enlarges images of 3 channel\(s\), these have 1"
    ):
        learn(tmp_path, {"kind": "flow", "network": network, "training": {"steps": 1}, "shows": shows})
