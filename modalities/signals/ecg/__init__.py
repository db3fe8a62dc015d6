"""The ECG: rhythm, morphology, noise, the sampler and its training."""
