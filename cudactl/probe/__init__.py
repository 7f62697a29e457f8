"""What is there: runs on the target. Standard library only, Python 3.8 and newer."""
