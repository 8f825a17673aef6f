"""A local Label Studio: its process, its accounts."""
