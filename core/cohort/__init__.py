"""A cohort on disk: slices, the patients table, hashes, journal, signatures, quarantine, watermark."""
