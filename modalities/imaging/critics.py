"""What tells drawn images from real ones: critics of the whole, of its coarse shape, its detail and its statistics."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

BLUR = 5  # pixels; what differs from a mean of so many is detail
COARSE = 16  # pixels a side of an image's coarse shape
RINGS, GREYS = 12, 24  # of a plane's spectrum; quantiles of its pixels


class WholeCritic(nn.Module):
    """Scores (row,) of images with their profiles' codes, flattened side by side: (row, plane * y * x + column).

    The code meets the image at the end, as in Miyato and Koyama's projection critic (2018); no gradient reaches it.
    """

    def __init__(self, planes: int, size: int, columns: int, widths: Sequence[int], fold: int) -> None:
        super().__init__()
        self.pixels, self.fold = (planes, size, size), fold
        self.first = nn.Conv2d(planes * fold**2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairwise([*widths, widths[-1]]))
        side = size // fold // 2 ** len(widths)
        self.last = nn.Linear(widths[-1] * side**2, widths[-1])
        self.score = nn.Linear(widths[-1], 1)
        self.code = nn.Linear(columns, widths[-1]) if columns else None

    def forward(self, view: Tensor) -> Tensor:
        image, code = _parted(view, self.pixels)
        folded = functional.pixel_unshuffle(image, self.fold)
        x = self.first(folded.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        return _scored(self, functional.leaky_relu(self.last(x.flatten(1)), 0.2), code)


class DetailCritic(nn.Module):
    """Scores (row,) of detail with its profile's code, flattened side by side: (row, plane * y * x + column).

    The mean over places, each of which sees some 20 pixels a side; the code meets the mean of what they find.
    """

    def __init__(self, planes: int, size: int, columns: int, width: int) -> None:
        super().__init__()
        self.pixels = (planes, size, size)
        widths = [planes, width, 2 * width, 4 * width, 4 * width]
        strides = (1, 2, 2, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=stride, padding=1)
            for (a, b), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.score = nn.Linear(widths[-1], 1)
        self.code = nn.Linear(columns, widths[-1]) if columns else None

    def forward(self, view: Tensor) -> Tensor:
        x, code = _parted(view, self.pixels)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
        return _scored(self, x.mean((2, 3)), code)


def _parted(view: Tensor, pixels: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """The image and the code that lie side by side; no gradient reaches the code."""
    count = pixels[0] * pixels[1] * pixels[2]
    return view[:, :count].reshape(-1, *pixels), view[:, count:].detach()


def _scored(critic: WholeCritic | DetailCritic, found: Tensor, code: Tensor) -> Tensor:
    """Scores (row,) of what a critic found (row, number), by itself and with the code."""
    score = critic.score(found)[:, 0]
    return (
        score if critic.code is None else score + (found * critic.code(code)).sum(1) / found.shape[1] ** 0.5
    )


class StatisticsCritic(nn.Sequential):
    """Scores (row,) of what statistics() finds, scaled, beside the code of the profile: (row, number)."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__(
            nn.Linear(numbers, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1), nn.Flatten(0),
        )  # fmt: skip


def statistics(images: Tensor) -> Tensor:
    """(row, plane * (RINGS + GREYS)): log power in rings up to the Nyquist frequency, and quantiles, of each plane."""
    with torch.autocast(images.device.type, enabled=False):
        images = images.float()
        side = images.shape[2]
        window = torch.hann_window(side, periodic=False, device=images.device)
        centred = images - images.mean((2, 3), keepdim=True)
        power = torch.fft.fft2(centred * window[:, None] * window).abs().square()
        frequency = torch.fft.fftfreq(side, device=images.device)
        ring = (torch.hypot(frequency[:, None], frequency) * 2 * RINGS).long().clamp(max=RINGS)
        member = functional.one_hot(ring.flatten(), RINGS + 1)[:, :RINGS].float()
        means = power.flatten(2) @ (member / member.sum(0).clamp(min=1))
        ordered = images.flatten(2).sort(dim=2).values
        places = torch.linspace(0, ordered.shape[2] - 1, GREYS, device=images.device).round().long()
        return torch.cat([torch.log10(means + 1e-6), ordered[:, :, places]], dim=2).flatten(1)


class _Block(nn.Module):
    """Two convolutions beside a way round them, at half the resolution afterwards."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.round = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)
        nn.init.zeros_(self.second.weight)  # at first a block passes on what comes

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.first(functional.leaky_relu(x, 0.2)), 0.2)
        return functional.avg_pool2d(self.round(x) + self.second(y), 2)


def detail(images: Tensor) -> Tensor:
    """(row, plane, y, x): what differs from the mean of BLUR x BLUR pixels."""
    return images - functional.avg_pool2d(images, BLUR, 1, BLUR // 2, count_include_pad=False)


def varied(images: Tensor) -> Tensor:
    """Images moved, brightened, stretched and partly covered at random, each in its own way (Zhao et al. 2020).

    Critics that see both sides so learn more slowly what only single patients show.
    """
    rows, _, tall, wide = images.shape
    device = images.device
    mean = images.mean((1, 2, 3), keepdim=True)
    stretch = 0.8 + 0.4 * torch.rand(rows, 1, 1, 1, device=device)
    images = (images - mean) * stretch + mean + 0.3 * (torch.rand(rows, 1, 1, 1, device=device) - 0.5)
    reach = tall // 10
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    down, right = torch.randint(2 * reach + 1, (2, rows, 1), device=device)
    ys = (torch.arange(tall, device=device) + down)[:, None, :, None]
    xs = (torch.arange(wide, device=device) + right)[:, None, None, :]
    row = torch.arange(rows, device=device)[:, None, None, None]
    plane = torch.arange(images.shape[1], device=device)[None, :, None, None]
    moved = padded[row, plane, ys, xs]
    cover = tall // 3
    top, left = torch.randint(tall - cover // 2, (2, rows, 1, 1, 1), device=device)
    y, x = torch.arange(tall, device=device)[:, None], torch.arange(wide, device=device)[None, :]
    covered = (y >= top) & (y < top + cover) & (x >= left) & (x < left + cover)
    return torch.where(covered, 0.0, moved)
