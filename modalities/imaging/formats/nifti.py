"""Read NIfTI volumes as slices of one plane, in radiological orientation."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ....core.errors import InputError, first_line
from ....core.extras import need
from ....core.types import AnyArray, FloatArray
from ..frame import Frame, Levels, Slices, stretched

Plane = Literal["axial", "coronal", "sagittal"]
AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}  # of a volume turned to R, A, S
GRID = 0.01  # mm that affines of one grid may differ by
SUFFIXES = (".nii", ".nii.gz")
PERCENTILES = (0.5, 99.5)  # scanners' stray bright voxels would else darken the rest


def is_nifti(path: Path) -> bool:
    """By the file's name."""
    return path.name.lower().endswith(SUFFIXES)


def slices_of(path: Path, plane: Plane, levels: Levels, slices: Slices) -> Iterator[Frame]:
    """The chosen slices of a volume as a radiologist sees them.

    Places count from the patient's left, back or feet. The patient's right is at the left edge of axial and
    coronal slices, the face at that of sagittal ones; the feet, or in axial slices the back, are at the bottom.
    Levels: those that were set, else the volume's percentiles 0.5 and 99.5. Raises InputError with the
    path: unreadable, not three-dimensional, or not grey.
    """
    volume, (height, width), _ = _read(path, plane)
    finite = volume[np.isfinite(volume)]
    low, high = (levels if levels.chosen else Levels(percentiles=PERCENTILES)).ends(finite)
    planes = np.moveaxis(volume, AXIS[plane], 0)
    for place in slices.of(len(planes)):
        shown = planes[place].T[::-1, ::-1]  # rows from head or face down, columns from the right or the face
        up = -place if plane == "coronal" else place  # of this plane the normal points to the back
        yield Frame(stretched(shown, low, high), height / width, stack=str(path), height=float(up))


def planes_of(path: Path, plane: Plane) -> AnyArray:
    """(slice, row, column) values of a volume, turned as slices_of() turns it. Raises InputError with the path."""
    volume, _, _ = _read(path, plane)
    return np.moveaxis(volume, AXIS[plane], 0).transpose(0, 2, 1)[:, ::-1, ::-1]


def require_same_grid(path: Path, other: Path) -> None:
    """Raises InputError where two volumes differ in shape, or in where their voxels lie."""
    grids = [_read(one, "axial", voxels=False) for one in (path, other)]
    (shape, _, place), (expected, _, there) = grids
    if shape.shape != expected.shape:
        raise InputError(
            f"{path}: expected the grid of its image {other.name}, {expected.shape}, got {shape.shape}"
        )
    if not np.allclose(place, there, atol=GRID):
        raise InputError(
            f"{path}: its voxels do not lie where those of its image {other.name} do (the affines differ by up to "
            f"{np.abs(place - there).max():.3g} mm); resample the mask to the image"
        )


def _read(path: Path, plane: Plane, voxels: bool = True) -> tuple[AnyArray, tuple[float, float], FloatArray]:
    """Values turned to R, A, S (zeros without `voxels`), height and width of a pixel in mm, and the affine."""
    need(f"{path}: NIfTI", "nibabel")
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.orientations import OrientationError
    from nibabel.spatialimages import HeaderDataError

    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a NIfTI volume")
    try:
        image: Any = nibabel.load(path)  # nibabel's types stop at the base class
        shape = image.shape
        if set(shape[3:]) == {1}:  # one volume, written as a series of one
            image = image.slicer[(..., *(0 for _ in shape[3:]))]
        if len(image.shape) != 3 or image.get_data_dtype().kind not in "iuf":
            raise InputError(
                f"{path}: expected one grey volume, got shape {shape} of {image.get_data_dtype()}; "
                "export one volume a file"
            )
        image = nibabel.as_closest_canonical(image)  # type: ignore[no-untyped-call]
        spacing, affine = _spacing(image.header.get_zooms(), plane), np.array(image.affine, dtype=np.float64)
        volume: AnyArray = np.asarray(image.dataobj, dtype=np.float32) if voxels else np.empty(image.shape)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected a NIfTI volume, cannot read it ({first_line(error)})") from None
    except OrientationError:
        raise InputError(
            f"{path}: its affine has an axis without direction (a column of zeros), so nobody knows how it lies; "
            "mend sform or qform"
        ) from None
    return volume, spacing, affine


def _spacing(zooms: tuple[float, ...], plane: Plane) -> tuple[float, float]:
    """Height and width of a pixel of the plane in mm."""
    across, up = (i for i in range(3) if i != AXIS[plane])
    sizes = float(zooms[up]), float(zooms[across])
    return sizes if min(sizes) > 0 else (1.0, 1.0)
