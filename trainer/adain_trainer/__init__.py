"""The command adain-trainer: trains decoders and refinements, measures them, and exports them as models."""
