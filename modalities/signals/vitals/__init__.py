"""Hourly vital signs: the autoregressive network, its quantizer, charting and training."""
