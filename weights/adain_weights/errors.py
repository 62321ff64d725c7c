"""The errors of weights files: each message tells in a sentence what is wrong and what to do."""


class WeightsError(Exception):
    """A weights file is missing, damaged, of another shape, or not trusted."""
