"""What is there: runs on the target. Standard library only, Python 3.8 and newer."""

from .. import __version__ as VERSION

__all__ = ["VERSION"]
