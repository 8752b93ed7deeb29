"""Measurements of the model and of the engine; what they gave is in RESULTS.md."""
