#!/usr/bin/env bash
# monai 1.6.1: slices numbered in the order of acquisition are stacked in that order, under an affine of even spacing.
#
# Instance Number says nothing of position (PS3.3 C.7.6.1: a number that identifies the image); an interleaved acquisition may
# count the slices at 0, 4, 2 and 6 mm as 1, 2, 3 and 4. Image Position (Patient) says where a slice lies. Guess: LoadImage puts
# each slice where its position says, as SimpleITK does, or warns. Seen: PydicomReader stacks by Instance Number (only a private
# method's docstring says so) and takes the affine from the first and the last slice, so the slice of 4 mm lies at 2 mm and
# that of 2 mm at 4 mm, without a warning; a series numbered backwards is right. Who writes series for it numbers the slices
# by position.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
    monai==1.6.1 torch==2.13.0 pydicom==3.0.2 SimpleITK==2.5.7 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import warnings
from pathlib import Path

import numpy as np
import SimpleITK
from monai.transforms import LoadImage
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write(folder: Path, positions: list[int]) -> None:
    """Write one slice for each position, numbered as listed; every pixel holds the position in mm."""
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number, position in enumerate(positions, 1):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.Modality, image.InstanceNumber = "MR", number
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, position]
        image.PixelSpacing, image.SliceThickness = [1, 1], 2
        image.Rows = image.Columns = 4
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        image.PixelData = np.full((4, 4), position, np.uint16).tobytes()
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)


for name, positions, right in (("backwards", [6, 4, 2, 0], True), ("interleaved", [0, 4, 2, 6], False)):
    write(Path(name), positions)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        volume = LoadImage(reader="PydicomReader")(name)
    content = np.asarray(volume)[0, 0].tolist()
    places = [float((np.asarray(volume.affine) @ [0, 0, k, 1])[2]) for k in range(4)]
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(name)
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(files))[:, 0, 0].tolist()
    print(f"{name}: monai's affine puts {content} at {places} mm; SimpleITK stacks {other}")
    assert other == [0, 2, 4, 6]
    assert (content == places) is right, "changed"
    assert not [w for w in said if "slice" in str(w.message).lower() or "spacing" in str(w.message).lower()], "changed"
PYTHON
