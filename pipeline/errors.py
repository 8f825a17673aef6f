"""The errors that end a stage with a message and no traceback."""


class PipelineError(Exception):
    """Something a user can put right; the message says what, where, and how."""
