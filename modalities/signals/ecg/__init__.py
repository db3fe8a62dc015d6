"""The 12-lead ECG: rhythm, morphology, noise, the sampler and its training."""
