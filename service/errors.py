"""What ends a command: one message for the person who typed it, and an exit code.

``CannotStart``, code 1: something on this machine or in its reach stands in the way.
``WrongSetting``, code 2: a flag, an argument or a variable asks for what cannot be.
"""


class Complaint(Exception):
    """A command ends with this message, which says what is wrong and what would be right."""

    exit_code = 1


class CannotStart(Complaint):
    """Something on this machine, or something that it should reach, stands in the way."""


class WrongSetting(Complaint):
    """A flag or a variable has a value that cannot work, whatever else is right."""

    exit_code = 2
