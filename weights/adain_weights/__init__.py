"""Models and saved styles: where they are, how they are checked, fetched and written, and those that come with us.

Its command is adain-weights.
"""
