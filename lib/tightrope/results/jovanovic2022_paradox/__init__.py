"""Certified defenses: why tighter relaxations may hurt certified training (Jovanović et al., 2021).

Every region is an L-infinity box cut to the pixel range [0, 1], radius in pixel units, unless a result says otherwise.
"""
