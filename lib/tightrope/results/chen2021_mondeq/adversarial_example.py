"""Figure 2: an image and an adversarial image of it."""

import numpy as np

from tightrope import attacks, figures
from tightrope.outward import at_least
from tightrope.question import Question
from tightrope.workbench.cases import ball_case, dataset, entry
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows, Value
from .common import PAPER, norm_text, question

figure_2 = Experiment(PAPER, "figure-2-adversarial-example")


@figure_2.cases
def cases(network: str, image: int, norm: object, epsilon_pixel: float, clip: bool, seed: int) -> Cases:
    """Return the one case: one image and one set."""
    dataset(entry(network).dataset).image(image)  # refuses an image out of range before any attack
    return [ball_case(network, norm, epsilon_pixel, clip, "pgd", {"seed": seed}, image=image)]


@figure_2.solve
def attack_image(case: Case) -> dict:
    """Attack one image by projected gradient descent: Foolbox's, as in the paper, then a targeted one with restarts.

    `attack_margin` is the score of the label found minus that of the true label.
    """
    network, region, label = question(case)
    seed, asked = case["options"]["seed"], Question(network, region, label)
    found, by = attacks.foolbox_pgd(asked, seed=seed), "foolbox"
    if found is None:
        targeted = attacks.pgd(asked, seed=seed).attacks.values()
        found, by = max(targeted, key=lambda a: a.margin, default=None), "targeted"
    outcome = {
        "label": label,
        "predicted": int(network.predict(region.center[None])[0]),
        "scores": network.logits(region.center[None])[0].tolist(),
    }
    if found is None:
        names = ("found_by", "attack_label", "attack_margin", "distance", "attack_scores", "attack_pixels")
        return outcome | dict.fromkeys(names)
    to_pixels = dataset(case["dataset"]).normalisation.to_pixels
    pixels = to_pixels(found.point)
    return outcome | {
        "found_by": by,
        "attack_label": int(found.label),
        "attack_margin": float(found.margin),
        "distance": float(np.abs(pixels - to_pixels(region.center)).max()),
        "attack_scores": network.logits(found.point[None])[0].tolist(),
        "attack_pixels": pixels.tolist(),
    }


def images_of(row: Row) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the pixels (p0,) of the original and of the adversarial image, None if no attack succeeded."""
    original, found = dataset(row["dataset"]).image(row["image"]), row["attack_pixels"]
    return original, None if found is None else np.array(found)


@figure_2.lines("quantity | value")
def numbers(rows: Rows) -> Lines:
    """Return the facts behind the picture."""
    (row,) = rows
    margins = np.delete(np.array(row["scores"]) - row["scores"][row["label"]], row["label"])
    found = row["attack_pixels"] is not None
    yield "label", row["label"]
    yield "predicted", row["predicted"]
    yield "largest margin of another label", round(float(margins.max()), 2)
    yield "attack found", found
    yield "predicted after the attack", row["attack_label"]
    yield "its margin is positive", found and row["attack_margin"] > 0
    yield "largest change of a pixel", round(row["distance"], 4) if found else None


@figure_2.lines("label | score | margin | attacked score | attacked margin")
def scores(rows: Rows) -> Lines:
    """Return the scores of all labels before and after, and the margins F_label - F_y."""
    (row,) = rows
    before, after, y = row["scores"], row["attack_scores"], row["label"]
    for k, score in enumerate(before):
        attacked = (round(after[k], 3), round(after[k] - after[y], 3)) if after else (None, None)
        yield k, round(score, 3), round(score - before[y], 3), *attacked


@figure_2.lines("row | column | original | attacked | difference")
def pixels(rows: Rows) -> Lines:
    """Return every pixel before and after."""
    (row,) = rows
    original, attacked = images_of(row)
    after = np.full_like(original, np.nan) if attacked is None else attacked
    width = dataset(row["dataset"]).shape[1]
    for i, values in enumerate(np.c_[original, after, after - original].tolist()):
        yield *divmod(i, width), *values


@figure_2.drawing(pixels)
def draw(rows: Rows) -> figures.Drawing:
    """Draw original, attack, difference and scores."""
    (row,) = rows
    drawing = figures.adversarial_example(*images_of(row), dataset(row["dataset"]).shape, row)
    ball = f"the {norm_text(row['norm'])} ball of radius {row['epsilon_pixel']:g}"
    to = row["attack_label"]
    found = "no attack is found" if to is None else f"the {row['label']} is taken for a {to}"
    return drawing.saying(f"In {ball} around the image {found}")


@figure_2.cells
def cells(rows: Rows) -> dict[str, Value]:
    """Return our numbers for the printed cells."""
    row, found = rows[0], rows[0]["attack_pixels"] is not None
    how = f"label {row['attack_label']} with margin {at_least(row['attack_margin'], 3)}" if found else ""
    return {"figure-2/label": Value(row["predicted"]), "figure-2/attacks-found": Value(int(found), how)}
