"""The trainer's one error: a sentence that the user can act on."""


class TrainerError(Exception):
    """Training cannot start or continue; the message tells what to do."""
