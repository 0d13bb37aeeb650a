"""Figure 2: an image and an adversarial image of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import attacks, figures
from tightrope.results.chen2021_mondeq.common import PAPER, make_case, question
from tightrope.workbench.cases import dataset, entry, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

FIGURE_2 = "figure-2-adversarial-example"


@dataclass(frozen=True)
class Figure2:
    """The row of Figure 2 and what is shown of it."""

    row: dict
    shape: tuple[int, int]
    pixels: np.ndarray  # (p0,) of the original image

    @property
    def attack(self) -> np.ndarray | None:
        """Pixels (p0,) of the adversarial image, or None if no attack succeeded."""
        found = self.row["attack_pixels"]
        return None if found is None else np.array(found)

    @property
    def scores(self) -> Table:
        """Scores of all labels before and after, and the margins F_label - F_y."""
        row, y = self.row, self.row["label"]
        before, after = row["scores"], row["attack_scores"]
        lines = [
            (k, round(before[k], 3), round(before[k] - before[y], 3))
            + ((round(after[k], 3), round(after[k] - after[y], 3)) if after else (None, None))
            for k in range(len(before))
        ]
        return Table(("label", "score", "margin", "attacked score", "attacked margin"), tuple(lines))

    @property
    def numbers(self) -> Table:
        """The facts behind the picture."""
        row = self.row
        margins = np.delete(np.array(row["scores"]) - row["scores"][row["label"]], row["label"])
        found = row["attack_pixels"] is not None
        facts = [
            ("label", row["label"]),
            ("predicted", row["predicted"]),
            ("largest margin of another label", round(float(margins.max()), 2)),
            ("attack found", found),
            ("predicted after the attack", row["attack_label"]),
            ("its margin is positive", found and row["attack_margin"] > 0),
            ("largest change of a pixel", round(row["distance"], 4) if found else None),
        ]
        return Table(("quantity", "value"), tuple(facts))

    def draw(self) -> figures.Drawing:
        """Draw original, attack, difference and scores, and write them under figures/."""
        row = self.row
        name = f"{FIGURE_2}.{drawn_profile([row])}"
        drawing = figures.adversarial_example(self.pixels, self.attack, self.shape, row)
        drawing.save(PAPER, name, self.pixel_table())
        return drawing

    def pixel_table(self) -> Table:
        """Every pixel before and after."""
        height, width = self.shape
        after = self.attack if self.attack is not None else np.full_like(self.pixels, np.nan)
        rows, columns = np.divmod(np.arange(height * width), width)
        lines = zip(rows.tolist(), columns.tolist(), self.pixels.tolist(), after.tolist(),
                    (after - self.pixels).tolist(), strict=True)  # fmt: skip
        return Table(("row", "column", "original", "attacked", "difference"), tuple(lines))


def figure_2(
    network: str,
    image: int = 0,
    norm: object = "inf",
    epsilon_pixel: float = 0.1,
    clip: bool = True,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Figure2:
    """Figure 2: an image and an adversarial image of it, found by projected gradient descent.

    Foolbox's attack first, as in the paper; a targeted attack with restarts where it finds nothing. The
    parameters are those of :func:`table_2`, for one image and one set.
    """
    (case,) = figure_2_cases(
        dict(
            network=network,
            image=image,
            norm=norm,
            epsilon_pixel=epsilon_pixel,
            clip=clip,
            seed=seed,
            profile=profile,
        )
    )
    (row,) = solved([case], solve or attack, store)
    data = dataset(row["dataset"])
    return Figure2(row, tuple(data.shape), data.image(image))


@checked()
def figure_2_cases(parameters: Mapping) -> list[dict]:
    """The one case of Figure 2."""
    image = parameters["image"]
    dataset(entry(parameters["network"]).dataset).image(image)  # refuses an image out of range before any attack
    region = (parameters["norm"], parameters["epsilon_pixel"], parameters["clip"])
    return [make_case(FIGURE_2, parameters, *region, image, "pgd")]


def attack(case: Mapping) -> dict:
    """Attack one image; `attack_margin` is the score of the label found minus that of the true label."""
    network, region, label = question(case)
    seed = case["options"]["seed"]
    found, by = attacks.foolbox_pgd(network, region, label, seed=seed), "foolbox"
    if found is None:
        targeted = attacks.pgd(network, region, label, seed=seed).attacks.values()
        found, by = max(targeted, key=lambda a: a.margin, default=None), "targeted"
    normalisation = dataset(case["dataset"]).normalisation
    outcome = {
        "label": label,
        "predicted": int(network.predict(region.center[None])[0]),
        "scores": network.logits(region.center[None])[0].tolist(),
        "found_by": None,
        "attack_label": None,
        "attack_margin": None,
        "distance": None,
        "attack_scores": None,
        "attack_pixels": None,
    }
    if found is None:
        return outcome
    pixels = normalisation.to_pixels(found.point)
    original = normalisation.to_pixels(region.center)
    return outcome | {
        "found_by": by,
        "attack_label": int(found.label),
        "attack_margin": float(found.margin),
        "distance": float(np.abs(pixels - original).max()),
        "attack_scores": network.logits(found.point[None])[0].tolist(),
        "attack_pixels": pixels.tolist(),
    }


def figure_2_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells."""
    if not rows:
        return {}
    row = rows[0]
    how = f"label {row['attack_label']} with margin {row['attack_margin']:.3g}" if row["attack_pixels"] else ""
    return {
        "figure-2/label": Value(row["predicted"]),
        "figure-2/attacks-found": Value(int(row["attack_pixels"] is not None), how),
    }
