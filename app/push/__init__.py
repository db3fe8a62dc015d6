"""Push: the files of a released cohort into archives, FHIR servers and buckets, each once."""
