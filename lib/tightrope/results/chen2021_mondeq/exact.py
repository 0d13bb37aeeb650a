"""Table 2 without undecided images: what attacks and Shor's relaxation leave open, by branch and bound on phases.

There is one row for each image and set that Table 2 leaves open; with these rows each image has an answer.
"""

import time
from itertools import pairwise

from tightrope import figures
from tightrope.errors import CertificateError
from tightrope.networks import MonDEQ
from tightrope.question import Limits, Verdict
from tightrope.regions import Ball
from tightrope.verifiers.robustness import certify
from tightrope.workbench.certificates import COLUMN, Claim, Statement, proof_of
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows
from tightrope.workbench.records import tree_folder
from tightrope.workbench.rows import percent
from .common import BALL, PAPER, by_ball, in_words, norm_text, question, undecided
from .orders import open_cases

table_2_exact = Experiment(PAPER, "table-2-exact", made_of="table-2-certified-ratio", may_be_empty=True)
SECONDS = 600.0  # of the tree of one label, processor time


@table_2_exact.cases
def cases(rows: Rows, seed: int) -> Cases:
    """Return one case for each row of Table 2 that is open; the labels to decide are a part of it."""
    return open_cases(rows, "exact", {"seed": seed, "time_limit": SECONDS})


@table_2_exact.states
def answer(row: Row) -> Statement | None:
    """Return that the open labels stay below the image's own; or of one that is reached, that it is."""
    if row["verdict"] == Verdict.CERTIFIED.value:
        relation, labels = "<", [told["label"] for told in row["labels"]]
    else:
        reached = [told for told in row["labels"] if told["verdict"] == Verdict.FALSIFIED.value]
        relation, labels = ">=", [max(reached, key=lambda told: told["attack_margin"])["label"]] if reached else []
    if not labels:
        return None

    def about() -> tuple[MonDEQ, Ball]:
        network, region, label = question(row)
        if row["label"] != label or [told["label"] for told in row["labels"]] != row["options"]["targets"]:
            raise CertificateError("the row does not have the image's label and those that were open")
        return network, region

    claims = (Claim({"label": row["label"], "target": target}, relation, 0.0) for target in labels)
    return Statement(tuple(claims), about)


@table_2_exact.solve
def decide_exactly(case: Case) -> dict:
    """Attack and certify the open labels by the whole cascade, whose last stage is exact."""
    network, region, label = question(case)
    options, began = case["options"], time.perf_counter()
    limits = Limits(time=options["time_limit"], seed=options["seed"], trees=tree_folder())
    report = certify(network, region, label, targets=options["targets"], limits=limits)
    told = [
        {
            "label": decision.label,
            "verdict": decision.verdict.value,
            "bound": decision.bound,
            "attack_margin": decision.attack_margin,
            "nodes": 0 if decision.tree is None else decision.tree.nodes,
            "leaves": 0 if decision.tree is None else len(decision.tree.leaves),
        }
        for decision in report.decisions
    ]
    verdict, seconds = report.verdict.value, round(time.perf_counter() - began, 3)
    outcome = {"label": label, "verdict": verdict, "labels": told, "seconds": seconds}
    return outcome | {COLUMN: proof_of(answer({**case, **outcome}), report)}


# How many nodes a tree has may depend on the last digits of a solve.
@table_2_exact.lines("norm | epsilon | set | image | label | verdict | nodes", tolerance={"nodes": 40})
def trees(rows: Rows) -> Lines:
    """Return for each label that Table 2 leaves open its verdict and the size of its tree."""
    for ball, own in by_ball(rows):
        for row in own:
            for part in row["labels"]:
                yield *in_words(*ball), row["image"], part["label"], part["verdict"], part["nodes"]


def answers(decisions: Rows, rows: Rows) -> list[tuple[tuple, dict[str, int]]]:
    """Return for each ball how many images are certified by the relaxation, certified exactly, falsified, undecided."""
    found = []
    for ball, own in by_ball(decisions):
        exact = {row["image"]: row["verdict"] for row in rows.where(**dict(zip(BALL, ball, strict=True)))}
        count = dict.fromkeys(("relaxation", "exact", "falsified", "undecided"), 0)
        for row in own:
            if row["robustness"] == "certified":
                kind = "relaxation"
            elif row["pgd"] == "falsified" or exact.get(row["image"]) == Verdict.FALSIFIED.value:
                kind = "falsified"
            else:
                kind = "exact" if exact.get(row["image"]) == Verdict.CERTIFIED.value else "undecided"
            count[kind] += 1
        found.append((ball, count))
    return found


@table_2_exact.lines("norm | epsilon | set | images | certified by order 1 | robust, exactly | falsified | undecided")
def exact_ratios(rows: Rows, decisions: Rows) -> Lines:
    """Return the images that are robust and those that are not, each with a proof, beside the relaxation's share.

    The decisions are rows of Table 2.
    """
    for ball, count in answers(decisions, rows):
        robust, images = count["relaxation"] + count["exact"], sum(count.values())
        yield *in_words(*ball), images, count["relaxation"], robust, count["falsified"], count["undecided"]


@table_2_exact.lines("norm | epsilon | certified by order 1 % | + relaxation | + set | + attack | left by Foolbox %")
def gap(rows: Rows, decisions: Rows) -> Lines:
    """Return what lies between two printed columns, certified on the ball and not attacked in the pixel range.

    The relaxation's part is from what order 1 certifies on the ball to what is robust there, that of the set from there
    to what is robust in the pixel range, that of the attack from there to what Foolbox leaves; in points of percent.
    """
    whole = dict(decisions.by("norm", "epsilon_pixel", "clip"))
    exactly = {
        ball: (percent(count["relaxation"], total), percent(count["relaxation"] + count["exact"], total))
        for ball, count in answers(decisions, rows)
        if not count["undecided"] and (total := sum(count.values()))
    }
    for (norm, epsilon, clip), (relaxed, ball) in exactly.items():
        if not clip and (norm, epsilon, True) in exactly:
            cut = exactly[norm, epsilon, True][1]
            left = whole[norm, epsilon, True].percent(foolbox="unknown")
            parts = (round(b - a, 1) for a, b in pairwise((relaxed, ball, cut, left)))
            yield norm_text(norm), epsilon, relaxed, *parts, left


@table_2_exact.drawing(exact_ratios)
def draw(rows: Rows, decisions: Rows) -> figures.Drawing:
    """Draw what is robust, undecided and falsified once every tree has ended."""
    bars = []
    for ball, count in answers(decisions, rows):
        norm, epsilon, region = in_words(*ball)
        robust = count["relaxation"] + count["exact"]
        bars.append((f"{norm}  {epsilon:g}  {region}", robust, count["falsified"], sum(count.values()), None, None))
    return figures.stacked_ratios(bars, "robust and falsified images, exactly", together=2).saying(undecided(bars))
