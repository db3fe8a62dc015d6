"""Rules that a health record must keep: clinical, of form, of order."""
