"""Judging: distances, utility and the report. Knows arrays and cohorts, no modality internals."""
