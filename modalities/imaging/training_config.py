"""The `model` part of a training YAML of images."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ...core.config import Settings
from . import prior_check
from .gaussian_prior import PriorSettings
from .model import Shows


class Config(Settings):
    """The `model` part of a training YAML.

    `prior` is the Gaussian prior, `histogram_matching` the post-processing (both files of these names).
    `prior_mismatch` is what becomes of images of another kind than those of --init. `masks: false` learns the images
    of a folder alone.
    """

    kind: Literal["flow", "few_steps", "upsampler", "features", "cosine"] = "flow"
    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    renamed: ClassVar[Mapping[str, str]] = {"law": "prior", "finish": "histogram_matching"}
    prior: PriorSettings | None = None
    histogram_matching: bool = False
    prior_mismatch: prior_check.Mismatch = "refuse"
    shows: Shows = Shows()
    masks: bool = True
