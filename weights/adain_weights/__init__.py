"""Models and saved styles: finding, checking, fetching and writing them, and those that come with the project.

Its command is adain-weights.
"""
