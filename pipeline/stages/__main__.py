"""``python -m pipeline.stages STAGE --argument value …``: what dvc.yaml runs."""

import sys

from pipeline.commands.stage import run

if __name__ == "__main__":
    run(sys.argv[1:])
