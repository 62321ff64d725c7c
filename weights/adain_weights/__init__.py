"""Models: manifest, catalogue, the Hub, digests, conversion, and the embedded weights files."""
