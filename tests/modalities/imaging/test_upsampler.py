"""Upsamplers: what does not fit is told in one line before anything is learnt; frames of films are not made up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from half_bright import halves
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from polyclinic import InputError
from polyclinic.app.training import Privacy, train
from polyclinic.modalities.imaging.upsampler import FADE, FRAME, Upsampler, UpsamplerModel, enlarged, unframed

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
        ({"size": 15}, {}, None, "size: expected a multiple of factor [24], got 15"),
        ({"factor": 3}, {}, None, "model.network: factor: expected 2 or 4, got 3"),
        ({}, {"crop": 8}, "imaging", r"expected a flow of 8 x 8 pixels and 1 channel\(s\), got 128 x 128 and 1;"),
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


def body(seed: int, channels: int = 1) -> Tensor:
    """(1, channel, 32, 32) smooth, in [-1, 1], without a frame."""
    coarse = torch.from_numpy(np.random.default_rng(seed).uniform(-0.5, 0.5, (1, channels, 4, 4))).float()
    return functional.interpolate(coarse, size=(32, 32), mode="bilinear", align_corners=True)


@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 3]))
def test_images_without_a_frame_stay(seed: int, channels: int) -> None:
    image = body(seed, channels)
    filled, weight = unframed(image)
    assert torch.equal(filled, image)
    assert bool((weight == 1).all())


@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.integers(0, 3),
    thick=st.integers(1, FRAME),
    level=st.sampled_from([-1.0, 1.0]),
)
def test_the_network_does_not_see_a_frame_and_its_detail_is_not_drawn_there(
    seed: int, side: int, thick: int, level: float
) -> None:
    film = body(seed)
    film[:, :, :thick] = level
    turned = unframed(film.rot90(side, (2, 3)))
    filled, weight = (part.rot90(-side, (2, 3)) for part in turned)
    assert bool((weight[:, :, :thick] == 0).all())
    assert bool((weight[:, :, thick + FADE :] == 1).all())
    assert torch.equal(filled[:, :, thick + 1 :], film[:, :, thick + 1 :])
    assert torch.equal(
        filled[:, :, : thick + 1], film[:, :, thick + 1 : thick + 2].expand(-1, -1, thick + 1, -1)
    )


def test_a_frame_is_enlarged_as_it_is() -> None:
    film = body(3)
    film[:, :, -2:] = 1.0
    net = Upsampler(UpsamplerModel(size=64, factor=2, width=8, blocks=1)).eval()
    with torch.no_grad():
        fine = enlarged(net, film, torch.randn(film.shape))
    assert fine.shape == (1, 1, 64, 64)
    assert float((fine[:, :, -2:] - 1).abs().max()) < 0.1


def test_a_framed_companion_changes_no_bit_of_an_image() -> None:
    film, plain, noise = body(3), body(4), torch.randn(2, 1, 32, 32)
    film[:, :, -2:] = 1.0
    net = Upsampler(UpsamplerModel(size=64, factor=2, width=8, blocks=1)).eval()
    with torch.no_grad():
        beside_film, beside_plain = (
            enlarged(net, torch.cat([plain, other]), noise)[0] for other in (film, plain)
        )
    assert torch.equal(beside_film, beside_plain)
