"""`python -m controlnet.training stage=control key=value ...`: `controlnet train`."""

import sys

from controlnet.cli import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]])
