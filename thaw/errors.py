"""The one exception for everything a user can cause and can mend."""


class UserError(Exception):
    """Says what is wrong, where, and what to do; shown without a traceback."""
