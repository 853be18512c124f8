"""The one error a user is meant to read."""


class UserError(ValueError):
    """What was given cannot be used; the message names it, says what is wrong and what to do.

    The command line prints it as one line and exits with status 2.
    """
