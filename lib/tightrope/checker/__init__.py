"""A checker of certificate files: exact arithmetic, no solver, and nothing of the rest of this library.

``python -m tightrope.checker FILE... --network NETWORK.npz`` prints PROVEN or REFUSED for each claim. What each kind of
file states, and why it is enough, is in README.md beside this file.
"""

from tightrope.checker.claims import Finding
from tightrope.checker.file import Certificate, Unreadable, all_from_bytes, digest, from_bytes, load
from tightrope.checker.numbers import Refused
from tightrope.checker.theories import THEORIES, check

__all__ = ["THEORIES", "Certificate", "Finding", "Refused", "Unreadable"]
__all__ += ["all_from_bytes", "check", "digest", "from_bytes", "load"]
