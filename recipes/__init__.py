"""How the built-in weights are made, from nothing but the project's own pictures."""
