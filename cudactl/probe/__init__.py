"""What is there: runs on the target. Standard library only, Python 3.8 and newer."""

from .. import __version__ as VERSION

# The name that type checkers take for true. Importing `typing` costs as much as reading all of
# dpkg's status, on every host and before every job, so what `state` and `gate` need goes without.
TYPE_CHECKING = False

__all__ = ["TYPE_CHECKING", "VERSION"]
