"""Draw from the network: along the flow by a solver, or in a few jumps by weights that critics taught to."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...core.device import half_is_fast
from ...core.types import Float32Array
from .model import Denoiser, ImageModel
from .stack import turned
from .unet import DPMSolverMultistepScheduler

ROWS = 16  # every network call has this many rows, so that a row's bits do not depend on its companions


@torch.inference_mode()
def draw(
    net: Denoiser,
    condition: Float32Array,
    seeds: Sequence[int],
    shape: ImageModel,
    coarse: Float32Array | None = None,
    steps: int = 12,
    guidance: float = 1.0,
    spread: float = 1.0,
    places: Sequence[float] | None = None,
    jumps: bool = False,
) -> Float32Array:
    """(row, channel, y, x) images in [-1, 1], with the planes of masks, each from its own seed, in `steps` evaluations.

    coarse (row, kept) gives the leading components of each start, which the flow keeps; the others are
    drawn. The solver is DPM-Solver++ of second order (Lu et al. 2022) on the flow's schedule. guidance
    above 1 strengthens the condition (Ho and Salimans 2022) at twice the cost; spread below 1 narrows what
    is drawn at the start. places are those of slices: rows of one seed are a stack and share their noise. Networks of
    few steps draw by `jumps`, without guidance.
    """
    device = next(net.parameters()).device
    kept = 0 if coarse is None else coarse.shape[1]
    out = []
    for start in range(0, len(seeds), ROWS):
        wanted = seeds[start : start + ROWS]
        white = torch.zeros(ROWS, shape.planes, shape.size, shape.size)
        weights = torch.zeros(ROWS, shape.components)
        for row, seed in enumerate(wanted):
            noise = torch.Generator().manual_seed(seed)
            white[row] = torch.randn(white.shape[1:], generator=noise)
            weights[row] = torch.randn(shape.components, generator=noise)
            if places is not None:
                white[row] = turned(
                    white[row], torch.randn(white.shape[1:], generator=noise), places[start + row]
                )
        white, weights = spread * white, spread * weights
        if coarse is not None:
            weights[: len(wanted), :kept] = torch.from_numpy(coarse[start : start + ROWS])
        code = torch.zeros(ROWS, condition.shape[1])
        code[: len(wanted)] = torch.from_numpy(condition[start : start + ROWS])
        x = net.source(white.to(device), weights.to(device))
        code = code.to(device)
        x = ended(net, x, code, kept, steps, jumps, guidance)
        out.append(x[: len(wanted)].clamp(-1, 1).cpu().numpy())
    return np.concatenate(out)


def ended(
    net: Denoiser, source: Tensor, code: Tensor, kept: int, steps: int, jumps: bool, guidance: float = 1.0
) -> Tensor:
    """The images (row, plane, y, x) that a source of that shape leads to, along the flow or in jumps."""
    if not jumps:
        return _solve(net, source, code, kept, steps, guidance)
    with torch.autocast(source.device.type, torch.bfloat16, enabled=half_is_fast(source.device)):
        return few_steps(net, source, code, kept, steps)


def _solve(net: Denoiser, x: Tensor, code: Tensor, kept: int, steps: int, guidance: float) -> Tensor:
    """Follow the flow from its start to images."""
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2, flow_shift=1.0
    )
    scheduler.set_timesteps(steps)
    share = torch.full((len(x),), float(kept), device=x.device)
    for moment in scheduler.timesteps:
        time = torch.full((len(x),), float(moment) / 1000, device=x.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half_is_fast(x.device)):
            velocity = net(x, time, code, share).float()
            if guidance != 1:
                free = net(x, time, torch.zeros_like(code), share).float()
                velocity = free + guidance * (velocity - free)
        x = scheduler.step(velocity, moment, x).prev_sample
    return x


def times(evaluations: int) -> list[float]:
    """Where the network is evaluated: 1 is the source, 0 the image."""
    return [1 - step / evaluations for step in range(evaluations)]


def jumped(net: nn.Module, x: Tensor, time: float, condition: Tensor, kept: int) -> Tensor:
    """The images that places x (row, plane, y, x) of the flow at a time lead to, in one evaluation."""
    now = torch.full((len(x),), time, device=x.device)
    share = torch.full((len(x),), float(kept), device=x.device)
    return x - time * net(x, now, condition, share).float()


def few_steps(net: nn.Module, source: Tensor, condition: Tensor, kept: int, evaluations: int) -> Tensor:
    """Images (row, plane, y, x) from a source of that shape."""
    x = source
    for time in times(evaluations):
        back = time - 1 / evaluations
        x = torch.lerp(jumped(net, x, time, condition, kept), source, back)
    return x
