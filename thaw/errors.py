"""The one exception for everything a user can cause and can mend."""


class UserError(Exception):
    """An error that says what is wrong, where, and what to do; it is shown without a traceback."""
