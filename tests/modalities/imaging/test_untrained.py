"""An untrained network moves no image: what it draws is the source, without a grid of patches."""

import torch

from polyclinic.modalities.imaging.model import Denoiser, ImageModel


def test_an_untrained_network_moves_nothing() -> None:
    net = Denoiser(2, ImageModel(size=16, widths=(16, 16), attention=(False, False), components=0))
    images = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        moved = net(images, torch.rand(3), torch.randn(3, 2), torch.zeros(3))
    assert moved.shape == images.shape
    assert not moved.any()
