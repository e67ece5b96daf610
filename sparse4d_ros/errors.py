"""The one error a person is meant to read: a sentence that names what is wrong and what to do."""


class UserError(Exception):
    """Bad input from outside (file, parameter, topic, camera). The command line prints only the text."""
