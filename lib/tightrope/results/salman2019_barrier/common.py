"""What the results of this paper share: names of networks, and the questions that a case asks."""

from collections.abc import Mapping, Sequence

from tightrope.question import Question
from tightrope.regions import pixel_ball
from tightrope.workbench.cases import dataset, entry, is_drawn

PAPER = "salman2019-barrier"
#: Networks that the paper names otherwise. The weights of ADV-MLP-A came with another paper's.
TITLES = {"chen2020-lipschitz/sdp-nn": "ADV-MLP-A"}


def title(network: str) -> str:
    """Return a network's name as the paper's Table 1 writes it.

    Examples
    --------
    >>> title("salman2019-barrier/adv-mlp-b-0.03"), title("digits/mlp-2x24"), title("random/784-100-10/dense/0")
    ('ADV-MLP-B', 'digits/mlp-2x24', 'random 784-100-10, 0')
    """
    if is_drawn(network):
        return network.replace("random/", "random ").replace("/dense/", ", ")
    if network in TITLES:
        return TITLES[network]
    if not network.startswith(f"{PAPER}/"):
        return network
    parts = network.removeprefix(f"{PAPER}/").split("-")
    return "-".join(part.upper() for part in parts if not part.startswith("0."))


def questions(case: Mapping) -> list[Question]:
    """Return for each image of a case its network, its ball, cut to the pixel range, and its label."""
    network, data = entry(case["network"]), dataset(case["dataset"])
    images = range(case["first"], case["first"] + case["count"])
    radius, normalisation = case["epsilon_pixel"], network.normalisation
    balls = [pixel_ball(data.image(i), "inf", radius, normalisation, case["clip"]) for i in images]
    return [Question(network.network, ball, data.label(i)) for i, ball in zip(images, balls, strict=True)]


def percent(letters: str, kinds: Sequence[str]) -> float:
    """The share of images that were decided by these (:class:`tightrope.verifiers.cascade.By`).

    Examples
    --------
    >>> percent("ggwp", ("w", "p"))
    50.0
    """
    return 100 * sum(letters.count(kind) for kind in kinds) / len(letters)
