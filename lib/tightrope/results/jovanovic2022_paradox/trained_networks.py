"""Table 3: the networks of the tightness experiments, their accuracy, and what attacks and CROWN leave of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tightrope import figures
from tightrope.results.jovanovic2022_paradox.accuracy import certify_and_attack
from tightrope.results.jovanovic2022_paradox.common import PAPER, make_case, questions
from tightrope.results.jovanovic2022_paradox.tightness import TRAINED, label, letter_of
from tightrope.workbench.cases import dataset, entry, groups, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.parameters import COUNT, RADIUS, many, rows_of
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_3 = "table-3-tightness-experiments"


@dataclass(frozen=True)
class Table3:
    """Rows of Table 3."""

    rows: tuple[dict, ...]

    @property
    def totals(self) -> dict[str, dict]:
        """Network -> images, correct, attacked radius, images that it was attacked on, standing and certified ones."""
        found: dict[str, dict] = {}
        for row in self.rows:
            total = found.setdefault(row["network"], dict.fromkeys(
                ("images", "correct", "epsilon_pixel", "asked", "standing", "certified"), 0))  # fmt: skip
            total["images"] += row["count"]
            total["correct"] += row["correct"]
            if row["epsilon_pixel"]:
                total["epsilon_pixel"] = row["epsilon_pixel"]
                total["asked"] += row["count"]
                total["standing"] += row["standing"]
                total["certified"] += row["certified"]
        return found

    @property
    def results(self) -> Table:
        """Accuracy, images that the attack leaves and those that CROWN certifies, in percent."""
        lines = []
        for network, total in self.totals.items():
            letter = letter_of(network)
            epochs = TRAINED[letter].ours.schedule.epochs if letter else None
            robust = [round(100 * total[name] / total["asked"], 2) if total["asked"] else None
                      for name in ("standing", "certified")]  # fmt: skip
            lines.append((label(network), epochs, round(100 * total["correct"] / total["images"], 2),
                          total["epsilon_pixel"] or None, *robust))  # fmt: skip
        return Table(("network", "epochs", "accuracy", "radius", "PGD", "CROWN certifies"), tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw certified, undecided and attacked images of each network that was trained by attacks."""
        bars = [(label(n), t["certified"], t["asked"] - t["standing"], t["asked"], None, None)
                for n, t in self.totals.items() if t["asked"]]  # fmt: skip
        drawing = figures.stacked_ratios(bars, "certified, undecided and attacked images after adversarial training")
        drawing.save(PAPER, f"{TABLE_3}.{drawn_profile(self.rows)}", self.results)
        return drawing


def table_3(
    networks: Sequence[str],
    images: Sequence[int],
    epsilon_pixel: Sequence[float],
    group: int = 500,
    profile: str = "quick",
    store: Store | None = None,
) -> Table3:
    """Table 3: accuracy of networks of natural and adversarial training, their robustness, and CROWN's certificates.

    Parameters
    ----------
    networks
        Names of the zoo.
    images
        How many of the first test images for each network.
    epsilon_pixel
        The radius of each network's training, at which it is attacked and certified; 0 for natural training.
    """
    parameters = dict(networks=networks, images=images, epsilon_pixel=epsilon_pixel, group=group, profile=profile)
    return Table3(solved(table_3_cases(parameters), accuracy_and_robustness, store))


@checked(images=many(COUNT), epsilon_pixel=many(RADIUS))
def table_3_cases(parameters: Mapping) -> list[dict]:
    """One case per network and group of images."""
    return [
        make_case(TABLE_3, parameters["profile"], network, epsilon, "crown", {"elision": True}, **part)
        for network, images, epsilon in rows_of(parameters, "networks", "images", "epsilon_pixel")
        for part in groups(images, parameters["group"], dataset(entry(network).dataset))
    ]


def accuracy_and_robustness(case: Mapping) -> dict:
    """Images of one group that are labelled rightly, stand the attack (100 steps of 0.01), are certified by CROWN."""
    if case["epsilon_pixel"] > 0:
        return certify_and_attack(case)
    found, x, _, _, labels = questions(case)
    return {"correct": int((found.network.predict(x) == labels).sum())}


def table_3_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """`table-3/A/accuracy`, `table-3/B/robustness`; `table-3/C/crown` is the 11.9 % of Appendix B."""
    values = {}
    sizes = dict(zip(parameters["networks"], parameters["images"], strict=True))
    for network, total in Table3(tuple(rows)).totals.items():
        letter = letter_of(network)
        if letter is None or total["images"] != sizes.get(network):
            continue
        trained = TRAINED[letter]
        note = (f"another network of the same kind, trained here for {trained.ours.schedule.epochs} of the printed "
                f"{trained.printed.schedule.epochs} epochs; first {total['images']} images")  # fmt: skip
        values[f"table-3/{letter}/accuracy"] = Value(round(100 * total["correct"] / total["images"], 2), note)
        if total["asked"]:
            for name, source in (("robustness", "standing"), ("crown", "certified")):
                share = round(100 * total[source] / total["asked"], 2)
                values[f"table-3/{letter}/{name}"] = Value(share, note)
    return values
