"""Fit the Gaussian prior and its critic to public images."""

from functools import partial
from typing import TYPE_CHECKING

import torch

from ...core.remarks import remark
from ...core.types import Float32Array
from . import prior_critic
from .gaussian_prior import GaussianPrior, PriorSettings, fit_public
from .images import Images, fits_prior
from .model import Denoiser
from .private_training import coarse_images, coordinates, declared_by

if TYPE_CHECKING:
    from ...core.training.fit import Fit


def fitted(
    net: Denoiser, images: Images, code: Float32Array, settings: PriorSettings, how: "Fit"
) -> tuple[GaussianPrior, dict[str, float]]:
    """The prior of the sets with `prior: true`, and what its critic's training found.

    code (row, column) is what the prior knows of each image. A critic that does not help is left out, with a remark.
    """
    chosen = fits_prior(images)
    z = coordinates(net, images.laid()[torch.from_numpy(chosen)])
    profiles = [p for p, taken in zip(images.profiles, chosen, strict=True) if taken]
    prior = fit_public(z, code[chosen], profiles, settings, declared_by(images), images.often[chosen])
    if not settings.critic:
        return prior, {}
    shown = partial(coarse_images, net)
    critic, found = prior_critic.train(prior, z, code[chosen], profiles, how.seed, shown, how.max_minutes)
    if critic is None:
        remark(f"model.prior.critic: {prior_critic.missed(found)}; the prior draws alone")
    return prior.chosen_by(critic), found
