"""How fast the important parts are, and how exact."""
