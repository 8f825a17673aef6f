"""What each DVC stage does, a file of its own name each: load → call → write → track; `pipeline.running` runs them."""
