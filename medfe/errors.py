"""The one exception that a user's mistake raises."""


class MedfeError(ValueError):
    """A user's mistake: the message names the file or setting, what was found and what was expected.

    The command line prints it as one line and exits with code 2; the demo shows it on the page.
    """
