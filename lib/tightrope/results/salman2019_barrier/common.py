"""What the results of this paper share: names of networks, the questions that a case asks, and what decides them."""

import time
from collections.abc import Callable, Mapping, Sequence

from tightrope import proofs
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import pixel_ball
from tightrope.verifiers.cascade import By, Decision, certify_boxes
from tightrope.verifiers.cascade_proofs import proofs_of
from tightrope.workbench.cases import dataset, entry, is_drawn
from tightrope.workbench.certificates import Claim, Several, Statement
from tightrope.workbench.experiment import Case, Row, Rows
from tightrope.workbench.records import tree_folder

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


def verdicts(row: Row) -> Several | None:
    """Return that of each certified image all other labels stay below its own, and that of each attacked one a label is
    reached; None if no image is decided.
    """

    def statements() -> list[Statement]:
        return [_verdict(question, By(letter).verdict) for question, letter in _answered(row)]

    return Several(statements) if set(row["decided_by"]) - {By.NOTHING.value} else None


def _verdict(question: Question, verdict: Verdict) -> Statement:
    relation, targets = ("<", question.targets) if verdict is Verdict.CERTIFIED else (">=", (None,))
    claims = (Claim({"label": question.label, "target": target}, relation, 0.0) for target in targets)
    return Statement(tuple(claims), lambda: (question.layers, question.region))


def prove(row: Row) -> list[list[proofs.Proof]]:
    """Return the proofs of each image that is decided, by what its letter names; the relaxations that were beyond are
    not asked again.
    """
    seed = row["options"]["seed"]
    return [proofs_of(question, By(letter), Limits(seed=seed)) for question, letter in _answered(row)]


def _answered(row: Row) -> list[tuple[Question, str]]:
    """Return the questions of the images that are decided, with their letters."""
    pairs = zip(questions(row), row["decided_by"], strict=True)
    return [(question, letter) for question, letter in pairs if letter != By.NOTHING.value]


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
