"""Training folders: dataset.yaml, tables, DICOM tags, FHIR and OMOP, splits."""
