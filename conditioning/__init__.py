"""Who the patients are: the vocabulary of profile fields, the population, the encoder, the reader of training folders."""
