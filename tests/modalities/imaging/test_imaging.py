"""The image networks: what the Gaussian prior releases, what the upsampler keeps, what the flow keeps of its start."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyclinic import Batch, InputError, PatientProfile
from polyclinic.core.fields import Field, Vocabulary
from polyclinic.core.training.weights import Card, Weights
from polyclinic.modalities.imaging import features_training, gaussian_prior, generator, private_training
from polyclinic.modalities.imaging.diffusion import ImageDiffusion
from polyclinic.modalities.imaging.model import Denoiser, ImageModel, ImageTraining
from polyclinic.modalities.imaging.sampler import draw
from polyclinic.modalities.imaging.upsampler import Upsampler, UpsamplerModel, enlarged, shrunk
from polyclinic.modalities.imaging.upsampler_training import cropped, renewed

SMALL = ImageModel(size=16, patch_size=2, widths=(16, 32), attention=(False, False), head=16, components=8)


def net(columns: int = 0) -> Denoiser:
    torch.manual_seed(0)
    made = Denoiser(columns, SMALL)
    made.fit_source(torch.rand(60, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    return made.eval()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e6))
@settings(max_examples=60, deadline=None)
def test_one_patient_moves_what_is_released_by_one_at_most(seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((30, 6))
    place = random.integers(0, 2, 30)
    rows[0] *= size
    for release in (
        lambda r, p: gaussian_prior.class_sums(r, p, 2),
        lambda r, p: gaussian_prior.sum_of_squares(r),
    ):
        moved = np.linalg.norm(release(rows, place) - release(rows[1:], place[1:]))
        assert moved <= 1 + 1e-9


def test_without_noise_the_private_prior_has_the_moments_of_its_patients() -> None:
    random = np.random.default_rng(0)
    shift = np.where(np.arange(4000) % 2, 0.3, -0.3)
    z = random.standard_normal((4000, 6)) * [0.5, 0.3, 0.5, 0.5, 0.2, 0.5] + shift[:, None]
    profiles = [PatientProfile(str(i), conditions={"J18.9": bool(i % 2)}) for i in range(4000)]
    settings = gaussian_prior.PriorSettings(rank=6, by="J18.9", mean_norm=3, spread_norm=3)
    prior = gaussian_prior.fit_private(z, profiles, settings, (0.0, 0.0), np.ones(6), 0, random)
    np.testing.assert_allclose(prior.line[1, :, -1], z[1::2].mean(0), atol=0.02)
    np.testing.assert_allclose(prior.root[0] @ prior.root[0].T, np.cov((z - shift[:, None]).T), atol=0.03)
    assert prior.share == pytest.approx([0.5, 0.5])


def test_a_class_has_its_own_covariance_where_it_stands_out_of_the_noise() -> None:
    random = np.random.default_rng(0)
    ill = np.arange(4000) % 2 == 1
    z = random.standard_normal((4000, 6)) * np.where(ill[:, None], [0.9, 0.4, 0.4, 0.4, 0.4, 0.4], 0.4)
    profiles = [PatientProfile(str(i), conditions={"J18.9": bool(c)}) for i, c in enumerate(ill)]
    settings = gaussian_prior.PriorSettings(rank=6, by="J18.9", mean_norm=3, spread_norm=3)
    ratios = []
    for noise in (0.0, 0.5, 500.0):
        found = gaussian_prior.fit_private(
            z, profiles, settings, (noise, noise), np.ones(6), 0, np.random.default_rng(1)
        )
        variance = (found.root @ found.root.transpose(0, 2, 1)).diagonal(0, 1, 2)
        ratios.append(variance[1, 0] / variance[0, 0])
    assert ratios[0] == pytest.approx(0.9**2 / 0.4**2, rel=0.1)
    assert ratios[1] == pytest.approx(ratios[0], rel=0.2)
    assert ratios[2] == pytest.approx(1, rel=0.5)


def test_many_classes_share_a_covariance_where_their_noise_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that two classes' own covariances bear is too much for nine: their sum has the noise of all."""
    z = 0.4 * np.random.default_rng(0).standard_normal((4000, 6))
    kept = gaussian_prior.PriorSettings(rank=6, by="kind", mean_norm=3, spread_norm=1)
    released = []
    summed = gaussian_prior.sum_of_squares
    monkeypatch.setattr(gaussian_prior, "sum_of_squares", lambda rows: released.append(0) or summed(rows))
    for classes, covariances in ((2, 2), (9, 1)):
        released.clear()
        known = Vocabulary(
            [Field("kind", "Kind", "category", classes=tuple(f"c{i}" for i in range(classes)))]
        )
        profiles = [PatientProfile(str(i), traits={"kind": f"c{i % classes}"}) for i in range(4000)]
        random = np.random.default_rng(1)
        gaussian_prior.fit_private(z, profiles, kept, (1.0, 60.0), np.ones(6), 0, random, known)
        assert len(released) == covariances


def test_much_noise_leaves_nothing_of_the_classes() -> None:
    random = np.random.default_rng(0)
    z = random.standard_normal((400, 6)) + np.where(np.arange(400) % 2, 1.0, -1.0)[:, None]
    profiles = [PatientProfile(str(i), conditions={"J18.9": bool(i % 2)}) for i in range(400)]
    kept = gaussian_prior.PriorSettings(rank=6, by="J18.9")
    gap = []
    for noise in (0.1, 1000.0):
        prior = gaussian_prior.fit_private(
            z, profiles, kept, (noise, noise), np.ones(6), 0, np.random.default_rng(1)
        )
        step = prior.line[1, :, -1] - prior.line[0, :, -1]
        gap.append(float(step @ np.ones(6) / np.linalg.norm(step) / np.sqrt(6)))
    assert gap[0] > 0.9
    assert abs(gap[1]) < 0.9


def test_a_covariance_of_noise_alone_is_left_with_its_diagonal() -> None:
    noise = 0.1 * gaussian_prior.symmetric_noise(40, np.random.default_rng(0))
    cleaned = gaussian_prior.denoised(np.eye(40) + noise, 0.1)
    off = ~np.eye(40, dtype=bool)
    assert np.abs(cleaned[off]).max() < 0.2 * np.abs(noise[off]).max()


def test_a_number_without_bounds_cannot_part_the_prior() -> None:
    with pytest.raises(
        InputError, match=r"age is a number; expected model.prior.bounds with it, or a condition"
    ):
        gaussian_prior.classes_of("age", [])


def test_an_open_class_is_drawn_by_its_share() -> None:
    prior = gaussian_prior.GaussianPrior(
        "J18.9", (False, True), np.array([0.25, 0.75]),
        np.array([[[0.0]], [[100.0]]]), np.full((2, 1, 1), 1e-3),
    )  # fmt: skip
    random = np.random.default_rng(0)
    drawn = [prior.draw(PatientProfile("a"), np.zeros(0, dtype=np.float32), random)[0] for _ in range(400)]
    assert np.mean(np.array(drawn) > 50) == pytest.approx(0.75, abs=0.07)


def clumps(rows: int) -> np.ndarray:
    """Rows about 5 or -5 in the first of three components: no single normal."""
    random = np.random.default_rng(0)
    z = 0.1 * random.standard_normal((rows, 3))
    z[:, 0] += np.where(np.arange(rows) % 4, 5.0, -5.0)
    return z


def test_a_mixture_has_the_shape_of_its_images() -> None:
    z, code = clumps(400), np.zeros((400, 0), dtype=np.float32)
    profiles = [PatientProfile(str(i)) for i in range(400)]
    settings = gaussian_prior.PriorSettings(rank=3, mixture=2)
    prior = gaussian_prior.fit_public(z, code, profiles, settings)
    prior = gaussian_prior.GaussianPrior.restore(prior.header(), prior.tensors())
    random = np.random.default_rng(1)
    drawn = np.stack([prior.draw(profiles[0], code[0], random) for _ in range(400)])
    assert np.mean(drawn[:, 0] > 0) == pytest.approx(0.75, abs=0.07)
    assert np.abs(np.abs(drawn[:, 0]) - 5).max() < 1
    half = gaussian_prior.fit_public(z, code, profiles, settings.model_copy(update={"temperature": 0.5}))
    np.testing.assert_allclose(half.root, prior.root / 2)
    np.testing.assert_array_equal(half.line, prior.line)


def test_a_mixture_keeps_to_the_class_that_the_profile_tells() -> None:
    z = clumps(400)
    z[:, 1] += np.where(np.arange(400) < 200, 3.0, -3.0)
    profiles = [PatientProfile(str(i), sex="F" if i < 200 else "M") for i in range(400)]
    code = np.zeros((400, 0), dtype=np.float32)
    prior = gaussian_prior.fit_public(
        z, code, profiles, gaussian_prior.PriorSettings(rank=3, by="sex", mixture=2)
    )
    assert prior.values == ("F", "F", "M", "M")
    random = np.random.default_rng(1)
    for profile, sign in ((profiles[0], 1), (profiles[-1], -1)):
        drawn = np.stack([prior.draw(profile, code[0], random) for _ in range(100)])
        assert (sign * drawn[:, 1] > 0).all()
        assert {True, False} == set((drawn[:, 0] > 0).tolist())


def test_few_images_make_fewer_normals() -> None:
    profiles = [PatientProfile(str(i)) for i in range(20)]
    code = np.zeros((20, 0), dtype=np.float32)
    prior = gaussian_prior.fit_public(
        clumps(20), code, profiles, gaussian_prior.PriorSettings(rank=3, mixture=50)
    )
    assert len(prior.values) == 3


def test_the_flow_keeps_what_the_start_and_the_image_share() -> None:
    """The velocity that is learnt has no part along the kept components, whatever the network."""
    module = ImageDiffusion((), SMALL, ImageTraining())
    module.net.load_state_dict(net().state_dict())
    seen = {}

    def velocity(x: torch.Tensor, time: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        seen["x"] = x
        return torch.zeros_like(x)

    images = torch.randint(0, 256, (200, 1, 16, 16), dtype=torch.uint8)
    module.kept, module.net.forward = torch.tensor([4]), velocity  # type: ignore[method-assign,assignment]
    module.losses((images, torch.zeros(200, 0)))
    wanted = module.net.coordinates(images.float() / 127.5 - 1)
    got = module.net.coordinates(seen["x"])
    agree = [float(np.corrcoef(wanted[:, i], got[:, i])[0, 1]) for i in range(8)]
    assert min(agree[:4]) > max(agree[4:])


def test_an_image_is_the_same_alone_and_in_company() -> None:
    start = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    code = np.zeros((5, 0), dtype=np.float32)
    together = draw(net(), code, [1, 2, 3, 4, 5], SMALL, start, steps=2)
    alone = draw(net(), code[:1], [3], SMALL, start[2:3], steps=2)
    np.testing.assert_array_equal(together[2], alone[0])


@pytest.mark.parametrize(("channels", "factor"), [(1, 4), (3, 2), (3, 4)])
def test_crops_of_fine_and_coarse_images_show_the_same_place(channels: int, factor: int) -> None:
    coarse = torch.randint(0, 256, (6, channels, 8, 8), dtype=torch.uint8)
    fine = coarse.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    for _ in range(10):
        large, small = cropped(fine, coarse, 4 * factor)
        assert large.shape == (6, channels, 4 * factor, 4 * factor)
        torch.testing.assert_close(shrunk(large, factor), small)


def test_films_that_went_through_the_flow_keep_their_leading_components() -> None:
    flow = net()
    images = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    torch.manual_seed(0)
    none, some = (renewed(flow, images, depth, kept=4) for depth in (0.0, 0.4))
    torch.testing.assert_close(none, images)
    assert not torch.allclose(some, images, atol=0.05)


def test_the_eight_turns_are_all_different_and_keep_the_pixels() -> None:
    image = torch.rand(1, 1, 5, 5)
    turned = features_training.turned(image.expand(8, 1, 5, 5), torch.arange(8))
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 8
    assert all(sorted(t.flatten().tolist()) == sorted(image.flatten().tolist()) for t in turned)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_source_has_the_moments_of_the_images_and_its_coordinates_are_those_that_were_asked_for(
    factor: int,
) -> None:
    random = torch.Generator().manual_seed(0)
    small = torch.randn(400, 3, 4, 4, generator=random)
    images = 0.2 * torch.nn.functional.interpolate(small, size=(32, 32), mode="bicubic").clamp(-4, 4)
    shape = ImageModel(
        size=32,
        channels=3,
        widths=(16, 32),
        attention=(False, False),
        head=16,
        components=48,
        basis_factor=factor,
    )
    net = Denoiser(0, shape)
    net.fit_source(images)
    assert net.basis.shape == (48, 3, 32 // factor, 32 // factor)
    weights = torch.randn(400, 48, generator=random)
    drawn = net.source(torch.randn(400, 3, 32, 32, generator=random), weights)
    torch.testing.assert_close(drawn.var(0).mean(), images.var(0).mean(), rtol=0.1, atol=0)
    torch.testing.assert_close(net.coordinates(drawn)[:, :8], weights[:, :8], rtol=0, atol=0.2)


@pytest.mark.parametrize(("channels", "factor"), [(1, 4), (3, 2)])
def test_no_line_is_drawn_along_the_edges_of_a_flat_film(channels: int, factor: int) -> None:
    torch.manual_seed(0)
    net = Upsampler(UpsamplerModel(width=8, blocks=1, channels=channels, factor=factor)).eval()
    flat, quiet = torch.full((1, channels, 12, 12), 0.5), torch.zeros(1, 1, 12, 12)
    with torch.no_grad():
        padded, around = net(flat, quiet), enlarged(net, flat, quiet)
    assert around.shape == padded.shape == (1, channels, 12 * factor, 12 * factor)
    plain, better = (
        float((fine - fine[..., (tile := slice(5 * factor, 6 * factor)), tile].tile(12, 12)).abs().max())
        for fine in (padded, around)
    )
    assert better < 0.2 * plain


def test_every_film_of_a_patient_has_its_turn_but_only_one() -> None:
    """So that a patient with 66 images moves a prior no more than a patient with one."""
    patients = ["many"] * 66 + [f"one {i}" for i in range(30)]
    seen = set()
    for seed in range(200):
        rows = private_training.one_each(patients, np.random.default_rng(seed)).tolist()
        assert sorted(patients[i] for i in rows) == sorted(set(patients))
        seen |= set(rows)
    assert len([i for i in seen if i < 66]) > 50


def test_upsampled_images_say_so() -> None:
    card = Card(
        name="flow", modality="imaging", kind="x", data=[], privacy="epsilon 1", steps=0, columns=[],
        model=SMALL.model_dump(),
    )  # fmt: skip
    finer = UpsamplerModel(width=8, blocks=1)
    upsampler = Weights(
        dict(Upsampler(finer).state_dict()),
        card.model_copy(update={"name": "finer", "model": finer.model_dump()}),
    )
    batch = Batch((PatientProfile("a"),), np.zeros((1, 0), dtype=np.float32), (1,))
    plain, fine = (
        generator.ImageGenerator(Weights(dict(net().state_dict()), card), (), extra).sample(batch)[0]
        for extra in (None, upsampler)
    )
    assert plain.arrays["image"].shape == (16, 16)
    assert fine.arrays["image"].shape == (64, 64)
    assert fine.facts["pixel_spacing_mm"] == pytest.approx(plain.facts["pixel_spacing_mm"] / 4, abs=1e-3)
    assert "enlarged 4 times by weights finer" in fine.facts["derivation"]
    assert "enlarged" not in plain.facts["derivation"]


@pytest.mark.parametrize(
    ("shows", "age", "extent"),
    [
        ({}, None, 360.0), ({}, 40.0, 360.0), ({}, 18.0, 360.0), ({}, 0.0, 162.0), ({}, 3.0, 195.0),
        ({"extent_mm": 250.0}, 3.0, 250.0), ({"body_part": "SKIN", "iod": "XC"}, 3.0, 360.0),
    ],
)  # fmt: skip
def test_the_field_of_view_of_a_chest_grows_with_a_child(shows, age, extent) -> None:
    card = Card(
        name="flow", modality="imaging", kind="x", data=[], privacy="public", steps=0, columns=[],
        model={**SMALL.model_dump(), "shows": shows},
    )  # fmt: skip
    batch = Batch((PatientProfile("a", age=age),), np.zeros((1, 0), dtype=np.float32), (1,))
    facts = generator.ImageGenerator(Weights(dict(net().state_dict()), card), ()).sample(batch)[0].facts
    assert facts["pixel_spacing_mm"] * SMALL.size == pytest.approx(extent, abs=0.01)


def test_a_prior_is_read_again_as_it_was_released(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    prior = gaussian_prior.GaussianPrior(
        "J18.9", (False, True), np.array([0.25, 0.75]), random.random((2, 4, 1)), random.random((2, 4, 4))
    )
    assert private_training.released(tmp_path / "law.json") is None
    private_training.keep(prior, tmp_path / "law.json")
    again = private_training.released(tmp_path / "law.json")
    assert again is not None
    assert again.header() == prior.header()
    for name, array in prior.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], array)


def test_the_prior_of_a_stressed_field_is_stretched_about_the_middle() -> None:
    """And only there: what is not known, and fields without a factor, are as the prior has them."""
    columns = ["sex=F", "sex=M", "sex?", "J90", "J90?"]
    line = np.zeros((1, 4, 6))
    line[0, 0] = [1.0, -1.0, 0.0, 0.5, 0.0, 0.2]
    prior = gaussian_prior.GaussianPrior(None, (None,), np.ones(1), line, np.full((1, 4, 4), 1e-9))
    card = Card(
        name="flow", modality="imaging", kind="x", data=[], privacy="public", steps=0, columns=columns,
        model={**SMALL.model_dump(), "law": prior.header()},
    )  # fmt: skip
    tensors = {f"law.{name}": torch.from_numpy(array) for name, array in prior.tensors().items()}
    drawn = generator.ImageGenerator(Weights({**net(5).state_dict(), **tensors}, card), columns)
    code = np.array([[1, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1], [1, 0, 1, 0, 0]], dtype=np.float32)
    asked = []
    draw_as_before = generator.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            generator, "draw", lambda *args, **k: asked.append(args[4]) or draw_as_before(*args, **k)
        )
        drawn.draw(Batch((PatientProfile("a"),) * 4, code, (1, 2, 3, 4)))
    stretch = generator.EMPHASIS["sex"]
    np.testing.assert_allclose(asked[0][:, 0], [0.7 + stretch, 0.7 - stretch, 0.7, 0.2 + stretch], atol=1e-5)
