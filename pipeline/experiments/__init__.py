"""Was it the feedback? Arms, seeds and variations of the loop, with simulated experts, in one process.

`lookaway experiments` prints the cost, runs the cells without results, and writes the tables in docs/results/tables.
The results are in experiments/, one small file a seed, in Git.
"""
