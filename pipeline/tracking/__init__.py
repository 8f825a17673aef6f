"""MLflow shows the results that the stages wrote; no output of a stage depends on it."""
