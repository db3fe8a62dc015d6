"""Record files: FHIR bulk and bundles, OMOP, MEDS, CSV, documents."""
