"""One module per DVC stage (paper, Algorithm 1): load → call → write → track."""
