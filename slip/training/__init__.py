"""How networks are taught: losses, the loop, what it is given and what it leaves."""
