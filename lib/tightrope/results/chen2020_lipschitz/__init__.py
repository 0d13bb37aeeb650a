"""Semialgebraic optimization for Lipschitz constants of ReLU networks (chen2020-lipschitz).

Regions are L-infinity balls in network-input units, and constants are with respect to the L-infinity norm: of one
output, or of the difference of two.
"""
