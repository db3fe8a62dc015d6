"""Who the patients are: the population, the encoder, the reader of training folders."""
