"""Images that might as well lie otherwise: training shows them so, and the model's moments know it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from half_bright import SIDE, halves

from polyclinic import Batch, InputError, PatientProfile
from polyclinic.app.training import Privacy, train
from polyclinic.core.training.weights import load
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.symmetry import Turned, laid, ways_of


def test_the_ways_are_all_different_keep_the_pixels_and_begin_with_the_image() -> None:
    image = torch.arange(2.0 * 5 * 5).view(2, 5, 5)
    ways = [laid(image, way) for way in range(8)]
    torch.testing.assert_close(ways[0], image)
    assert len({tuple(way.flatten().tolist()) for way in ways}) == 8
    assert all(sorted(way.flatten().tolist()) == sorted(image.flatten().tolist()) for way in ways)


@pytest.mark.parametrize(
    ("symmetry", "kept"), [("mirror", {(1, 1), (1, -1)}), ("rectangle", {(y, x) for y in (1, -1) for x in (1, -1)})]
)  # fmt: skip
def test_what_lies_along_an_axis_stays_there_unless_a_square_is_turned(
    symmetry: str, kept: set[object]
) -> None:
    wide = torch.zeros(1, 9, 9)
    wide[0, 2, 1] = 1.0  # up and further left
    found = set()
    for way in range(ways_of(symmetry)):  # type: ignore[arg-type]
        y, x = (laid(wide, way)[0] == 1).nonzero()[0].tolist()
        assert (abs(y - 4), abs(x - 4)) == (2, 3)
        found.add((np.sign(4 - y), np.sign(4 - x)))
    assert found == kept


def test_rows_are_shown_in_all_of_their_ways_and_others_stay_with_them() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    data = Turned(images, np.array([1, 2, 8]), torch.arange(3))
    for row, ways in enumerate((1, 2, 8)):
        seen = {tuple(data[row][0].flatten().tolist()) for _ in range(200)}
        assert len(seen) == ways
        assert data[row][1] == row


@pytest.mark.parametrize("symmetry", ["none", "mirror", "square"])
def test_a_model_of_images_with_symmetry_has_no_bright_side(symmetry: str, tmp_path: Path) -> None:
    network = {"size": SIDE, "widths": [16, 32], "attention": [False, False], "head": 16, "components": 4}
    model = {"kind": "flow", "network": network, "training": {"steps": 2}}
    config = tmp_path / "flow.yaml"
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    out = tmp_path / "flow.safetensors"
    train("imaging", halves(tmp_path / "data", symmetry), out, Privacy(), config=str(config))
    mean = load(out).tensors["mean"].float()[0]
    gap = float(mean[:, : SIDE // 2].mean() - mean[:, SIDE // 2 :].mean())
    assert (gap > 1.1) if symmetry == "none" else (abs(gap) < 0.5)


def test_an_unknown_symmetry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"symmetry.*'none', 'mirror', 'rectangle' or 'square'"):
        train("imaging", halves(tmp_path / "data", "round"), tmp_path / "x.safetensors", Privacy())


def test_a_cosine_model_has_none_either(tmp_path: Path) -> None:
    gaps = []
    for symmetry in ("none", "mirror"):
        config = tmp_path / f"{symmetry}.yaml"
        model = {"kind": "cosine", "network": {"size": SIDE}}
        config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
        out = tmp_path / f"{symmetry}.safetensors"
        train("imaging", halves(tmp_path / symmetry, symmetry), out, Privacy(), config=str(config))
        generator = ImageGenerator(load(out), ())
        people = tuple(PatientProfile(str(n)) for n in range(40))
        drawn = generator.draw(Batch(people, np.zeros((40, 0), dtype=np.float32), tuple(range(40))))
        gaps.append(float(drawn[..., : SIDE // 2].mean() - drawn[..., SIDE // 2 :].mean()))
    assert gaps[0] > 0.9
    assert abs(gaps[1]) < 0.4
