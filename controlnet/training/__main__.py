"""`python -m controlnet.training stage=control key=value ...`."""

import sys

from controlnet.training.run import train

if __name__ == "__main__":
    train(sys.argv[1:])
