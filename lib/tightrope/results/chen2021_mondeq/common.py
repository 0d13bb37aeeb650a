"""What the results of this paper share: names, cases, and the question that a case asks."""

from collections.abc import Mapping

from tightrope.networks import MonDEQ
from tightrope.regions import Ball, parse_norm, pixel_ball
from tightrope.workbench.cases import dataset, entry, network_sha256

PAPER = "chen2021-mondeq"
SETS = {False: "ball", True: "ball in [0, 1]"}


def make_case(
    result: str, parameters: Mapping, norm: object, epsilon_pixel: float, clip: bool, image: int, method: str
) -> dict:
    """One image, one region, one method: what identifies a row.

    Parameters
    ----------
    parameters
        Those of the notebook: network, seed, profile.
    """
    q = parse_norm(norm)
    found = entry(parameters["network"])
    return {
        "paper": PAPER,
        "result": result,
        "profile": parameters["profile"],
        "network": parameters["network"],
        "network_sha256": network_sha256(parameters["network"]),
        "dataset": found.dataset,
        "norm": int(q) if q.is_integer() else "inf" if q == float("inf") else q,
        "epsilon_pixel": float(epsilon_pixel),
        "clip": bool(clip),
        "method": method,
        "options": {"seed": parameters["seed"]},
        "image": image,
    }


def question(case: Mapping) -> tuple[MonDEQ, Ball, int]:
    """The network, region and true label of a case."""
    data = dataset(case["dataset"])
    image = data.image(case["image"])
    found = entry(case["network"])
    region = pixel_ball(image, case["norm"], case["epsilon_pixel"], found.normalisation, case["clip"])
    return found.network, region, data.label(case["image"])


def percent(count: int, total: int) -> int | float:
    """A ratio in percent, rounded to one digit."""
    ratio = 100 * count / total
    return int(ratio) if ratio == int(ratio) else round(ratio, 1)


def norm_text(norm: object) -> str:
    """The norm of a row in words."""
    return "L-infinity" if norm == "inf" else f"L{norm}"
