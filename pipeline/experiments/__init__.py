"""Was it the feedback? Arms, seeds and variations of the loop, with simulated experts, in one process.

``python -m pipeline.experiments`` says what it will cost, runs what has not run yet, and writes the tables of
docs/results.md. What has run is in experiments/, one small file a seed, in Git.
"""
