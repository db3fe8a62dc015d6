"""Image files: DICOM, NIfTI, pictures and archives."""
