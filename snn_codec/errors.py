"""The error for whatever a user can mend."""


class UserError(ValueError):
    """An input cannot be used. The message names it, says what is wrong and what to do.

    The command line prints it as one line and exits with status 2.

    Examples:
        >>> from snn_codec import UserError, read_audio
        >>> try:
        ...     read_audio("missing.wav")
        ... except UserError as error:
        ...     print(error)
        missing.wav: no such file
    """


class TrainingFailed(UserError):
    """A training diverged or collapsed: the same settings and data would do so again."""
