"""Which masks a training learns beside its images, and whether weights to start from and files can have them."""

from collections.abc import Sequence

from ...core.config import MaskLabel
from ...core.errors import InputError
from ...core.modality import TrainingSet
from ...core.training.weights import Weights
from .formats.kinds import KINDS
from .mask_labels import labels_of, mask_labels_of
from .model import Shows, require_flow


def drawn_labels(
    data: Sequence[TrainingSet], wanted: bool = True, init: Weights | None = None
) -> tuple[MaskLabel, ...]:
    """What is drawn beside the images: the labels of the folders' masks, if they are `wanted`.

    Raises InputError where the weights to start from draw other masks or none.
    """
    labels = labels_of(data) if wanted else ()
    if init is None:
        return labels
    require_flow(init.card)
    given, asked = (", ".join(one.label for one in own) for own in (mask_labels_of(init.card), labels))
    if given != asked:
        raise InputError(
            f"--init {init.card.name}: expected weights that draw {f'masks of {asked}' if asked else 'no masks'}, got "
            f"{f'masks of {given}' if given else 'none'}; leave --init out, "
            + (
                "or learn the images alone by model: {masks: false}"
                if asked
                else "or give mask in dataset.yaml"
            )
        )
    return labels


def require_masks_fit(shows: Shows, labels: Sequence[MaskLabel]) -> None:
    """Raises InputError for a volume that is one file of several frames: segmentations of such are not written."""
    if labels and shows.slices > 1 and shows.iod is not None and KINDS[shows.iod].frames:
        raise InputError(
            f"model.shows: masks of {shows.iod} volumes cannot be written; expected CT, MR or PT, or say "
            "model: {masks: false}"
        )
