"""Input regions: L_q balls, optionally cut to the pixel range; zonotopes, ellipsoids, polytopes.

A radius is `epsilon_pixel` until :func:`pixel_ball` turns it into network-input units; every region is in
network-input units. An attack and a certificate for the same claim must be given the same region.
"""

from tightrope.regions.affine import EllipsoidRegion, Zonotope
from tightrope.regions.ball import Ball, pixel_ball
from tightrope.regions.norms import INFINITY, Norm, parse_norm
from tightrope.regions.polytope import Polytope
from tightrope.regions.region import Region

__all__ = ["INFINITY", "Ball", "EllipsoidRegion", "Norm", "Polytope", "Region", "Zonotope", "parse_norm", "pixel_ball"]
