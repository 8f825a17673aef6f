"""Train a classifier while experts watch what it looks at: the DVC stages and their library."""
