"""How fast the important parts are, and how exact: `lookaway bench`, or `python -m benchmarks [FIGURE …]`."""
