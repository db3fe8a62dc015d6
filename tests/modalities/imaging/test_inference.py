"""Networks made ready to draw: the same numbers, in other formats and with fewer passes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from polyclinic.modalities.imaging.inference import ready
from polyclinic.modalities.imaging.model import Denoiser, ImageModel
from polyclinic.modalities.imaging.upsampler import Upsampler, UpsamplerModel, unshuffled


def test_a_kernel_before_a_pixel_shuffle_does_what_it_does_after_it() -> None:
    random = torch.Generator().manual_seed(0)
    kernel, x = (torch.randn(shape, generator=random) for shape in ((3, 6, 3, 3), (2, 24, 7, 5)))
    after = functional.conv2d(functional.pixel_shuffle(x, 2), kernel, padding=1)
    before = functional.pixel_shuffle(functional.conv2d(x, unshuffled(kernel), padding=1), 2)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("channels", "factor"), [(1, 4), (3, 2)])
def test_the_upsampler_is_the_sequence_of_its_layers(channels: int, factor: int) -> None:
    torch.manual_seed(0)
    net = Upsampler(UpsamplerModel(width=8, blocks=2, channels=channels, factor=factor))
    coarse, noise = torch.randn(2, channels, 12, 12), torch.randn(2, 1, 12, 12)
    first = net.stem(torch.cat([coarse, noise], 1))
    smooth = functional.interpolate(coarse, scale_factor=factor, mode="bicubic")
    torch.testing.assert_close(
        net(coarse, noise), smooth + net.up(first + net.body(first)), atol=1e-5, rtol=0
    )


def test_a_flow_made_ready_gives_nearly_the_same_velocity_and_is_smaller() -> None:
    torch.manual_seed(0)
    net = Denoiser(3, ImageModel(size=32, widths=(32, 48), attention=(False, True), layers=1, components=4))
    nn.init.normal_(net.unet.conv_out.weight, std=0.05)
    x, time, told, kept = torch.randn(2, 1, 32, 32), torch.full((2,), 0.5), torch.randn(2, 3), torch.ones(2)
    with torch.inference_mode():
        exact = net(x, time, told, kept)
        before = sum(p.nbytes for p in net.parameters())
        ready(net.unet)
        half = next(net.unet.parameters()).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            drawn = net(x, time, told, kept).float()
    assert sum(p.nbytes for p in net.parameters()) < before if half else True
    assert (drawn - exact).std() < 0.03 * exact.std()
