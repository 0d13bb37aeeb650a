"""Tightrope: how tight convex relaxations of neural networks are, and what that tightness buys.

CONTRIBUTING.md lists the modules in the order in which data flows; each imports only from those before it.
"""

__version__ = "0.2.0.dev0"
