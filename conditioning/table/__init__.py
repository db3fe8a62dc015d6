"""The DP graphical model of a patient table: domains, mechanism, junction tree, draws."""
