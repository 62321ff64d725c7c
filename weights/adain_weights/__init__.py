"""Models: manifest, digests, conversion, and the embedded weights files."""
