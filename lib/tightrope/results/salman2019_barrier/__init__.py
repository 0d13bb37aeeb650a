"""A convex relaxation barrier to tight robustness verification of neural networks (Salman et al., NeurIPS 2019).

Every region is an L-infinity ball in pixels, cut to the pixel range [0, 1], as in the paper's own evaluation: with
other sets its numbers for LP-GREEDY do not come out.
"""
