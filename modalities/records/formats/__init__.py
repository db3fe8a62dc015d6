"""Record files: FHIR bulk and bundles, OMOP, CSV, documents."""
