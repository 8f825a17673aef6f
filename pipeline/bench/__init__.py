"""`make bench`: how fast what matters is, and how exact."""
