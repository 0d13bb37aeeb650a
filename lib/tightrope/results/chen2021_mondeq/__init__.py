"""Semialgebraic representation of monotone deep equilibrium models (Chen, Lasserre, Magron, Pauwels, NeurIPS 2021).

A number is always for one set: the ball of the norm (`clip` false), or that ball cut to the pixel range (`clip` true);
attack and certificate use the same one.
"""
