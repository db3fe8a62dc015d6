"""The image model: a profile-conditioned flow-matching U-Net."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.remarks import remark
from ...core.training.weights import Card, Weights
from . import gaussian_prior, histogram_matching
from .adapters import Trainable
from .formats.kinds import Iod, check_kind
from .mask_labels import MASK_LABELS
from .subject import CHEST
from .unet import UNet2DModel

FLOW = "flow-matching U-Net"  # in the card
GROUPS = 16  # of channels that are normalised together
EVALUATIONS = "evaluations"  # in the card of a network of few steps: how many draw an image
FROM = "evaluations_from"  # there too: numbers of leading components that it has learnt to start with
RENAMED = {"fold": "patch_size"}  # keys of cards that ship -> fields of ImageModel


class ImageModel(Settings):
    """Shape of the network. Patches of `patch_size` x `patch_size` pixels become channels before the U-Net.

    `masks` is the number of labels that are drawn with the image, each a plane beside its channels.

    The flow's source distribution is a Gaussian fitted by PCA to public images, with `components` principal
    components: the network only has to learn what is not normal. 0 starts from white noise. The components are
    those of images `basis_factor` times smaller, which keeps the weights of large images small. With `blocks` so is the
    white noise: a network that grew starts without anything finer. `refine` is the width of convolutions at full size
    after the U-Net, without which large patches show their borders; 0 is none.
    """

    renamed: ClassVar[Mapping[str, str]] = RENAMED
    size: int = 64
    channels: int = 1
    patch_size: int = 2
    widths: tuple[int, ...] = (64, 96, 128)
    layers: int = 1
    attention: tuple[bool, ...] = (False, False, True)
    head: int = 32
    components: int = 192
    basis_factor: Literal[1, 2, 4] = 1
    masks: int = Field(default=0, ge=0)
    blocks: bool = False
    refine: int = Field(default=0, ge=0)

    @property
    def planes(self) -> int:
        """Channels of the image and of its mask."""
        return self.channels + self.masks

    @model_validator(mode="after")
    def _fits(self) -> "ImageModel":
        if len(self.widths) != len(self.attention) or any(width % GROUPS for width in self.widths):
            raise ValueError(
                f"widths: expected {len(self.attention)}, as attention has, each a multiple of {GROUPS}, "
                f"got {list(self.widths)}"
            )
        side = self.patch_size * 2 ** (len(self.widths) - 1)
        for what, number in (
            ("basis_factor", self.basis_factor),
            ("patch_size and 2 for each further width", side),
        ):
            if self.size % number:
                raise ValueError(f"size: expected a multiple of {number} ({what}), got {self.size}")
        return self


class ImageTraining(Settings):
    """How the network is trained.

    `trainable` says what learns: everything; `modulation` is condition, time, normalisation, first and last layer;
    `lora` are condition, time and output layers and updates of `rank` of all others. The gradient of an image is the
    mean over `augmentation_multiplicity` draws of noise and time, which reduces its variance alone.

    `kept` are the numbers of leading components that start and end of the flow may share; with 64, say, the
    start gives the coarse image and the network draws the rest. Under a budget, `prior_share` of it goes into
    the Gaussian prior and the rest into DP-SGD of `steps` steps; with 0 steps all goes into the prior.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "multiplicity": "augmentation_multiplicity",
        "law_share": "prior_share",
    }
    steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 4e-4
    ema: float = 0.995
    hide: float = 0.15
    fine: float = 10.0
    kept: tuple[int, ...] = (0,)
    compile: bool = False
    trainable: Trainable = "all"
    rank: int = Field(default=4, ge=1)
    augmentation_multiplicity: int = Field(default=1, ge=1)
    prior_share: float = Field(default=0.5, ge=0, le=1)
    patients_per_step: int = 64
    max_grad_norm: float = 0.3


class Shows(Settings):
    """What the images are of, for the files they are written to and for titles.

    `body_part` is DICOM's Body Part Examined, empty where nobody says. `iod` is DX for grey images and SC for RGB
    ones unless said. `extent_mm` is the side of the field of view; `upsampler` names public weights that draw these
    images four times as fine. With more than one of `slices` a volume is drawn, of this many at this distance along
    the normal of their plane. `hounsfield` are a CT's black and white. `view` is that of mammograms. `laterality` is
    the side of a body part that is one of a pair; that of a mammogram or a fundus photograph is read off the image
    unless said.
    """

    iod: Iod | None = None
    body_part: str = ""
    extent_mm: float = 360.0
    upsampler: str | None = None
    slices: int = Field(default=1, ge=1)
    slice_spacing_mm: float | None = Field(default=None, gt=0)
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    hounsfield: tuple[float, float] | None = None
    view: Literal["MLO", "CC", "ML", "LM"] | None = None
    laterality: Literal["L", "R"] | None = None

    @model_validator(mode="after")
    def _holds_slices(self) -> "Shows":
        if self.slices > 1 and self.iod is None:
            raise ValueError(f"a series of {self.slices} slices needs an iod; expected CT, MR, PT or NM")
        if self.iod is not None:
            check_kind(self.iod, colour=False, slices=self.slices, body_part=self.body_part)
        if self.slices > 1 and self.slice_spacing_mm is None:
            raise ValueError(f"a series of {self.slices} slices needs slice_spacing_mm")
        return self

    def remark_nameless(self) -> None:
        """Say that files and titles will name no body part, where that is so."""
        if not self.body_part:
            remark(
                "imaging: nobody says which body part the images show, so that files and titles name none; say it in "
                "dataset.yaml by options: {shows: {body_part: ...}}"
            )


def shows_of(card: Card) -> Shows:
    """What a model's images are of; cards that name no body part are of the chest."""
    return parse(
        Shows, {"body_part": CHEST, **card.model.get("shows", {})}, f"weights {card.name}: model.shows"
    )


def network_of(card: Card) -> ImageModel:
    """The shape of a flow from its card."""
    shape = {RENAMED.get(name, name): value for name, value in card.model.items()}
    return ImageModel(
        **{
            k: v
            for k, v in shape.items()
            if k not in (gaussian_prior.STORED, "shows", MASK_LABELS, EVALUATIONS, FROM)
        }
    )


def require_flow(card: Card) -> None:
    """Raises InputError unless the weights to start from are a flow's."""
    if card.kind != FLOW:
        raise InputError(
            f"--init {card.name}: expected weights of a {FLOW}, got a {card.kind}; choose such weights, or leave "
            "--init out"
        )


def require_same_shape(card: Card, shape: ImageModel) -> None:
    """Raises InputError unless the weights to start from are of a flow whose network has this shape."""
    require_flow(card)
    given, asked = network_of(card).model_dump(mode="json"), shape.model_dump(mode="json")
    if differ := [name for name in asked if given[name] != asked[name]]:
        expected, got = (", ".join(f"{name} {of[name]}" for name in differ) for of in (asked, given))
        raise InputError(
            f"--init {card.name}: expected a network of {expected} (model.network), got {got}; give the latter as "
            "model.network in the YAML of --config, or leave --init out"
        )


def network_tensors(weights: Weights) -> dict[str, Tensor]:
    """The tensors of the flow itself, without those of the prior and of histogram matching."""
    others = (f"{gaussian_prior.STORED}.", f"{histogram_matching.STORED}.")
    return {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(others)}


class _UNet(UNet2DModel):
    """diffusers' network; its own way to tell the dtype walks over all modules, twice a call."""

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class Denoiser(nn.Module):
    """Velocity of the flow from image to noise, given time, an encoded profile, and how much of the start is kept.

    forward(x (row, channel, y, x), time (row,) in [0, 1], condition (row, column), kept (row,) components)
    -> like x.
    """

    def __init__(self, columns: int, shape: ImageModel) -> None:
        super().__init__()
        self.patch_size, self.columns, self.channels = shape.patch_size, columns, shape.channels
        self.factor, self.blocks = shape.basis_factor, shape.blocks
        pixels = (shape.planes, shape.size, shape.size)
        self.register_buffer("mean", torch.zeros(pixels))
        coarse = (shape.planes, shape.size // shape.basis_factor, shape.size // shape.basis_factor)
        self.register_buffer("basis", torch.zeros(shape.components, *coarse))  # scaled by standard deviation
        self.register_buffer("rest", torch.ones(()))  # standard deviation of what the basis leaves
        folded = shape.planes * shape.patch_size**2
        width = 4 * shape.widths[0]  # the embedding width of the U-Net
        self.condition = nn.Sequential(nn.Linear(columns + 1, width), nn.SiLU(), nn.Linear(width, width))
        down = ["AttnDownBlock2D" if a else "DownBlock2D" for a in shape.attention]
        up = ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(shape.attention)]
        self.unet = _UNet(
            sample_size=shape.size // shape.patch_size,
            in_channels=folded,
            out_channels=folded,
            layers_per_block=shape.layers,
            block_out_channels=shape.widths,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            class_embed_type="identity",
            attention_head_dim=min(shape.head, *shape.widths),
            norm_num_groups=GROUPS,
        )
        # an untrained network moves nothing: random offsets of a patch's pixels would show as a grid after few steps
        nn.init.zeros_(self.unet.conv_out.weight)
        nn.init.zeros_(self.unet.conv_out.bias)
        self.refine = Refine(shape.planes, shape.refine) if shape.refine else None

    mean: Tensor
    basis: Tensor
    rest: Tensor

    def fit_source(self, images: Tensor) -> None:
        """Take the source's moments from (row, channel, y, x) images in [-1, 1]; public images only."""
        if not len(self.basis):
            return
        self.mean.copy_(images.mean(0))
        flat = self._shrunk(images - self.mean)
        _, scale, directions = torch.pca_lowrank(flat, q=len(self.basis), center=False, niter=3)
        scale = scale / len(flat) ** 0.5
        held = scale.square().sum() * self.factor**2  # of the components at full size
        left = (images.flatten(1).var(0).sum() - held).clamp(min=0) / self.mean.numel()
        self.basis.copy_((directions * scale).T.reshape(self.basis.shape))
        self.rest.copy_(left.sqrt())

    def coordinates(self, x: Tensor) -> Tensor:
        """(row, component) of images in the basis, in standard deviations of the prior's images."""
        flat = self.basis.flatten(1)
        return self._shrunk(x - self.mean) @ flat.T / flat.square().sum(1)

    def _shrunk(self, x: Tensor) -> Tensor:
        """(row, number) of images, at the size of the basis."""
        return (x if self.factor == 1 else functional.avg_pool2d(x, self.factor)).flatten(1)

    def source(self, white: Tensor, weights: Tensor) -> Tensor:
        """Starting points (row, channel, y, x) from white noise and (row, component).

        The noise has that shape, or the size of the basis where the source has blocks.
        """
        coarse = torch.tensordot(weights, self.basis, dims=1)
        if self.factor > 1:
            coarse = functional.interpolate(
                coarse, scale_factor=self.factor, mode="bicubic", align_corners=False
            )
        if self.blocks:
            if white.shape[2] > self.basis.shape[2]:
                white = self.factor * functional.avg_pool2d(white, self.factor)
            white = white.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
        return self.mean + self.rest * white + coarse

    def forward(self, x: Tensor, time: Tensor, condition: Tensor, kept: Tensor) -> Tensor:
        share = kept[:, None] / max(1, len(self.basis))
        code = self.condition(torch.cat([condition, share.to(condition)], dim=1))
        folded = functional.pixel_unshuffle(x, self.patch_size).contiguous(memory_format=torch.channels_last)
        out = self.unet(folded, 1000 * time, class_labels=code).sample
        out = functional.pixel_shuffle(out.contiguous(), self.patch_size)
        return out if self.refine is None else out + self.refine(out, x, time)


class Refine(nn.Module):
    """What is added to a velocity (row, plane, y, x) at full size, as patches leave borders, by place and time (row,).

    At first nothing.
    """

    def __init__(self, planes: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * planes + 1, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, planes, 3, padding=1)
        for start in self.last.parameters():
            nn.init.zeros_(start)

    def forward(self, velocity: Tensor, place: Tensor, time: Tensor) -> Tensor:
        now = time[:, None, None, None].expand(-1, 1, *place.shape[2:])
        x = torch.cat([velocity, place.to(velocity), now.to(velocity)], dim=1)
        x = functional.silu(self.first(x.contiguous(memory_format=torch.channels_last)))
        out: Tensor = self.last(functional.silu(self.second(x)))
        return out


def scaled(images: Tensor) -> Tensor:
    """8-bit images as floats in [-1, 1]."""
    return images.float() / 127.5 - 1
