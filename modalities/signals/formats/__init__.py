"""Signal files: WFDB, EDF+, DICOM waveforms."""
