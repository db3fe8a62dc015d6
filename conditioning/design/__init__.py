"""Cohort designs: criteria, joint targets, the cohort YAML."""
