"""`python -m retraining.warm`: the warm server."""

from retraining.warm.server import main

main()
