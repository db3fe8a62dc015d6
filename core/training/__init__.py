"""Training: the Trainer, the protocol of a fit, weights and their cards."""
