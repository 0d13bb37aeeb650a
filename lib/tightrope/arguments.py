"""What the public functions are given first, a network and a region, refused by name if it is something else."""

import sys
from os import PathLike

from tightrope.errors import NetworkError, RegionError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.regions import Ball, Region


def require_network(network: object, *kinds: type, instead: str = "") -> None:
    """Refuse what is no network of these kinds, MonDEQ or FeedForward if none is given, by a NetworkError.

    `instead` is what to write for a network of the other kind.

    Examples
    --------
    >>> require_network("net.onnx")
    Traceback (most recent call last):
    ...
    tightrope.errors.NetworkError: network: expected a FeedForward or a MonDEQ, got str; write networks.load(path).
    """
    kinds = kinds or (FeedForward, MonDEQ)
    if isinstance(network, kinds):
        return
    torch, remedy = sys.modules.get("torch"), ""  # whoever has a module has imported it
    if torch is not None and isinstance(network, torch.nn.Module):
        remedy = "; write FeedForward.from_torch(module)"
    elif isinstance(network, str | PathLike):
        remedy = "; write networks.load(path)"
    elif isinstance(network, FeedForward | MonDEQ) and instead:
        remedy = f"; {instead}"
    wanted = " or ".join(f"a {kind.__name__}" for kind in kinds)
    raise NetworkError(f"network: expected {wanted}, got {type(network).__name__}{remedy}.")


def require_region(region: object, *kinds: type) -> None:
    """Refuse what is no region of these kinds, of any if none is given, by a RegionError.

    Examples
    --------
    >>> require_region(([0.0, 0.0], 0.1))
    Traceback (most recent call last):
    ...
    tightrope.errors.RegionError: region: expected a region, got tuple; write regions.Ball(center, radius, norm).
    """
    if isinstance(region, kinds or Region):
        return
    wanted = " or ".join(f"a {kind.__name__}" for kind in kinds) or "a region"
    is_region = isinstance(region, Region)
    remedy = "" if is_region and Ball not in kinds else "; write regions.Ball(center, radius, norm)"
    raise RegionError(f"region: expected {wanted}, got {type(region).__name__}{remedy}.")
