"""`python -m retraining.cli`: the command where it is not on the path."""

from retraining.cli import main

main()
