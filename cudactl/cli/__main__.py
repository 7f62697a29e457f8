"""`python -m cudactl.cli`: the same command line, for hosts where no script was installed."""

from cudactl.cli import main

main()
