"""``python -m pipeline.stages STAGE --argument value …``: what dvc.yaml runs.

In a copy of the process that has imported everything before, if there is one; here otherwise.
"""

import sys

from pipeline import forkserver

if __name__ == "__main__":
    forkserver.hand_over(sys.argv[1:])  # before anything is imported that takes time

    from pipeline.running import run

    run(sys.argv[1:])
