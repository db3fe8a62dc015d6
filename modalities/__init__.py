"""One folder a modality, each with the same five files: data, model, export, metrics, __init__."""
