"""Patient simulation: courses of disease played onto one chart."""
