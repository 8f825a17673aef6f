"""The command line, `lookaway`: one module per group of commands."""
