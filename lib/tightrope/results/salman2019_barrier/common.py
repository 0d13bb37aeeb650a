"""What the results of this paper share: names of networks, the questions that a case asks, and what decides them."""

import time
from collections.abc import Callable, Mapping, Sequence

from tightrope.question import Limits, Question
from tightrope.regions import pixel_ball
from tightrope.verifiers.cascade import Decision, certify_boxes
from tightrope.workbench.cases import dataset, entry, is_drawn
from tightrope.workbench.certificates import tree_folder
from tightrope.workbench.experiment import Case, Rows

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


def questions(case: Case) -> list[Question]:
    """Return for each image of a case its network, its ball, cut to the pixel range, and its label."""
    network, data = entry(case["network"]), dataset(case["dataset"])
    images = range(case["first"], case["first"] + case["count"])
    radius, normalisation = case["epsilon_pixel"], network.normalisation
    balls = [pixel_ball(data.image(i), "inf", radius, normalisation, case["clip"]) for i in images]
    return [Question(network.network, ball, data.label(i)) for i, ball in zip(images, balls, strict=True)]


def decided(case: Case, more: Callable[[list[tuple[int, Decision]]], Mapping], **how: bool) -> dict:
    """Decide each image of a case by the cascade; the row also has `more` of the images' numbers and decisions."""
    asked, options, began = questions(case), case["options"], time.process_time()
    limits = Limits(time=options.get("time_limit"), seed=options["seed"], trees=tree_folder())
    decisions = certify_boxes(asked, limits, subproblems=options.get("subproblems"), **how)
    spent: dict[str, list[float]] = {}
    for decision in decisions:
        for by, seconds in decision.seconds.items():
            spent.setdefault(by, []).append(seconds)
    return {
        "decided_by": "".join(decision.by.value for decision in decisions),
        **more(list(enumerate(decisions, case["first"]))),
        # By method: images that were asked, their processor seconds together, those of the slowest.
        "seconds_by": {by: [len(s), round(sum(s), 3), round(max(s), 3)] for by, s in sorted(spent.items())},
        "seconds": round(time.process_time() - began, 3),
    }


def from_the_first(rows: Rows) -> tuple[Rows, str]:
    """Return the rows of one line from its first image on, up to the first that is missing, and their letters."""
    own, letters = [], ""
    for row in sorted(rows, key=lambda row: row["first"]):
        if row["first"] == len(letters):
            own.append(row)
            letters += row["decided_by"]
    return Rows(own), letters


def percent(letters: str, kinds: Sequence[str]) -> float:
    """The share of images that were decided by these (:class:`tightrope.verifiers.cascade.By`).

    Examples
    --------
    >>> percent("ggwp", ("w", "p"))
    50.0
    """
    return 100 * sum(letters.count(kind) for kind in kinds) / len(letters)
