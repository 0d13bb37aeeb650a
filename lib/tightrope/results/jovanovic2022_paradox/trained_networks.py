"""Table 3: the networks of the tightness experiments, their accuracy, and what attacks and CROWN leave of it."""

from tightrope import figures
from tightrope.workbench.cases import box_case, groups
from tightrope.workbench.experiment import Case, Cases, Experiment, Names, Numbers, Radii, Rows, Table, Value, Values
from tightrope.workbench.parameters import rows_of
from .accuracy import certify_and_attack, robustness_bars
from .common import PAPER, TRAINED_HERE, label, letter_of, one_image, questions, share, size_here, trained_here

table_3 = Experiment(PAPER, "table-3-tightness-experiments")
table_3.sized(size_here)


@table_3.cases
def cases(networks: Names, image_counts: Numbers, epsilons: Radii, group: int) -> Cases:
    """Yield one case for each network and group of its first test images.

    `epsilons` are the radii of the trainings, at which networks are attacked and certified; 0 for natural training.
    """
    for network, images, epsilon in rows_of(networks=networks, image_counts=image_counts, epsilons=epsilons):
        for part in groups(network, images, group):
            yield box_case(network, epsilon, "crown", {"elision": True}, **part)


@table_3.solve
def test_and_attack(case: Case) -> dict:
    """Count the images of one group that are labelled rightly, stand the attack, are certified by CROWN."""
    if case["epsilon_pixel"] > 0:
        return certify_and_attack(case)
    found, x, _, _, labels = questions(case)
    return {"correct": int((found.network.predict(x) == labels).sum())}


def _attacked(rows: Rows) -> Rows:
    return Rows(row for row in rows if row["epsilon_pixel"])


@table_3.table
def robustness(rows: Rows) -> Table:
    """Return accuracy, images that the attack leaves and those that CROWN certifies, in percent."""
    lines = []
    for (network,), own in rows.by("network"):
        letter, attacked = letter_of(network), _attacked(own)
        epochs = TRAINED_HERE[letter].ours.schedule.epochs if letter else None
        shares = [share(attacked, name) if attacked else None for name in ("standing", "certified")]
        radius = attacked[-1]["epsilon_pixel"] if attacked else None
        lines.append((label(network), epochs, share(own, "correct"), radius, *shares))
    head = ("network", "epochs", "accuracy %", "radius (pixels)", "PGD %", "CROWN certifies %")
    return Table(head, lines, tolerance={"PGD %": one_image(rows)})


@table_3.drawing(robustness)
def draw(rows: Rows) -> figures.Drawing:
    """Draw certified, undecided and attacked images of each network that was trained by attacks."""
    attacked = _attacked(rows)
    printed = table_3.printed if rows[0]["profile"] == "paper" else {}
    marks = {
        network: [printed.get(f"table-3/{letter_of(network)}/{name}") for name in ("crown", "robustness")]
        for network in attacked.different("network")
    }
    title = "certified, undecided and attacked images after adversarial training"
    drawing = robustness_bars(attacked, title, marks)
    standing = [own for _, own in attacked.by("network") if own.total("standing")]
    if not standing:
        return drawing
    parts = [100 * own.total("certified") / own.total("standing") for own in standing]
    said = f"{min(parts):.0f} to {max(parts):.0f} % of the images are certified"
    return drawing.saying(f"Of what withstands the attack, {said}")


@table_3.cells
def cells(rows: Rows, networks: Names, image_counts: Numbers) -> Values:
    """Yield `table-3/A/accuracy`, `table-3/B/robustness`; `table-3/C/crown` is the 11.9 % of Appendix B."""
    asked = dict(zip(networks, image_counts, strict=True))
    for (network,), own in rows.by("network"):
        letter, images = letter_of(network), own.total("count")
        if letter is not None and images == asked.get(network):
            note, attacked = trained_here(letter, images), _attacked(own)
            yield f"table-3/{letter}/accuracy", Value(share(own, "correct"), note)
            if attacked:
                yield f"table-3/{letter}/robustness", Value(share(attacked, "standing"), note)
                yield f"table-3/{letter}/crown", Value(share(attacked, "certified"), note)
