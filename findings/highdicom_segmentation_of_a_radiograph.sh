#!/usr/bin/env bash
# highdicom 0.28.2: a segmentation that it writes over a digital radiograph cannot be read back by it.
#
# A DX image has Pixel Spacing and no Slice Thickness, since a projection has none. Guess: Segmentation() writes an object that
# segread() takes. Seen: it writes a Pixel Measures Sequence with Pixel Spacing alone, and segread() raises AttributeError, since
# it asks for a Slice Thickness there. pydicom reads the object. Leave Pixel Measures out of such an object, or read it by pydicom.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check highdicom==0.28.2
"$work/env/bin/python" - <<'PYTHON'
import io

import highdicom
import numpy as np
import pydicom
from highdicom.seg import SegmentDescription, Segmentation, segread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = "1", "Doe^Jane", "", ""
image.StudyID = image.AccessionNumber = image.ReferringPhysicianName = ""
image.StudyDate, image.StudyTime = "20240101", "120000"
image.Modality, image.SeriesNumber, image.InstanceNumber = "DX", 1, 1
image.Rows = image.Columns = 16
image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
image.BitsAllocated = image.BitsStored = 8
image.HighBit = 7
image.ImagerPixelSpacing = image.PixelSpacing = [0.2, 0.2]
image.PatientOrientation, image.ImageLaterality = ["L", "F"], "U"
image.PixelData = bytes(256)

mask = np.zeros((1, 16, 16), np.uint8)
mask[0, 4:9, 4:9] = 1
lung = SegmentDescription(1, "lung", codes.SCT.Organ, codes.SCT.Lung, "MANUAL")
written = Segmentation([image], mask, "BINARY", [lung], generate_uid(), 2, generate_uid(), 1, "A", "B", "1", "C")
file = io.BytesIO()
written.save_as(file)

file.seek(0)
measures = pydicom.dcmread(file).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
assert "PixelSpacing" in measures, measures
assert "SliceThickness" not in measures, measures
file.seek(0)
try:
    segread(file)
except AttributeError as error:
    print("highdicom", highdicom.__version__, "wrote it; reading:", error)
else:
    raise SystemExit("segread() reads it now")
PYTHON
