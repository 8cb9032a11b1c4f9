"""What can go wrong, as one tree. Every error knows the command's exit code.

SlipError
├── UsageError            2  a value that cannot be used, an output that already exists
├── NoMatch               1  the picture was searched and nothing in it is what was named
├── ImageError            3  a picture that cannot be read
├── OutputError           3  a result that cannot be written
└── WeightsError          4  weights that are missing, damaged or of another architecture

SlipWarning is for what the user should know but need not act on: a prompt cut to the
model's context, an animation of which only the first frame is used.
"""


class SlipError(Exception):
    """Base of all errors a user can cause. The message is one line: what, where, what to do."""

    exit_code = 1


class UsageError(SlipError):
    """A value that cannot be used, or an output that exists and may not be replaced."""

    exit_code = 2


class NoMatch(SlipError):
    """A best segment was asked of a prediction in which none reaches the threshold."""

    exit_code = 1


class ImageError(SlipError):
    """A picture that cannot be read, or is larger than the limit."""

    exit_code = 3


class OutputError(SlipError):
    """A result that cannot be written: no permission, no space, no such folder."""

    exit_code = 3


class WeightsError(SlipError):
    """Weights that are missing, damaged, refused or made for another architecture."""

    exit_code = 4


class SlipWarning(UserWarning):
    """Something the user should know; the work goes on."""
