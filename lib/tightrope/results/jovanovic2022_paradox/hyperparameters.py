"""Table 6 (and Appendix G for the other data sets): the printed hyperparameters, as the training here takes them."""

from collections.abc import Mapping

from tightrope.errors import UnknownNameError
from tightrope.training.printed import CONFIGURATIONS, configuration
from tightrope.workbench.experiment import Case, Cases, Experiment, Names, Radii, Rows, Table, Value, Values
from .common import PAPER, TRAININGS

table_6 = Experiment(PAPER, "table-6-hyperparameters")
#: Column of a row -> its head and the last part of a printed cell's id, for the columns with printed cells.
PRINTED = {
    "epsilon_train": ("eps train", "eps-train"),
    "warm_up": ("N_w", "warm-up"),
    "ramp_up": ("N_r", "ramp-up"),
    "kappa_end": ("kappa end", "kappa-end"),
    "l1": ("lambda", "lambda"),
    "learning_rate": ("alpha", "alpha"),
}

#: Columns of words -> the last part of a printed cell's id, and the word for which the cell is 1; 0 for the other.
WORDS = {"learning_rates": ("steps", "steps"), "elision": ("elision", "yes")}


@table_6.cases
def cases(datasets: Names, epsilons: Radii) -> Cases:
    """Return one case for each network of the paper that is certified at one of these radii, in pixel units."""
    for data in datasets:
        if data not in CONFIGURATIONS:
            raise UnknownNameError("dataset", data, CONFIGURATIONS)
    wanted = {f"{epsilon:.4g}" for epsilon in epsilons}
    return [
        {"dataset": data, "architecture": network, "epsilon_test": round(epsilon, 6), "training": training}
        for data in datasets
        for network, epsilon, training in CONFIGURATIONS[data]
        if f"{epsilon:.4g}" in wanted
    ]


@table_6.solve
def read_configuration(case: Case) -> dict:
    """Return the printed columns as the schedules give them, epoch by epoch."""
    found = configuration(case["dataset"], case["architecture"], case["epsilon_test"], case["training"])
    schedule, epochs = found.schedule, range(found.schedule.epochs + 1)
    radii = [schedule.epsilon_at(epoch) for epoch in epochs]
    full = next(epoch for epoch in epochs if radii[epoch] == radii[-1])
    return {
        "epsilon_train": round(radii[-1], 6),
        "warm_up": schedule.warm_up,
        "ramp_up": full - schedule.warm_up,
        "kappa_end": schedule.kappa_at(schedule.epochs),
        "l1": found.l1,
        "learning_rate": schedule.learning_rate_at(0),
        "learning_rates": schedule.learning_rates,
        "elision": "yes" if found.elision else "no",
        "epochs": schedule.epochs,
        "batch_size": found.batch_size,
        "full": schedule.epochs - full,
        "last_rate": float(f"{schedule.learning_rate_at(schedule.epochs - 1):.3g}"),
        "configuration_sha256": found.sha256(),
    }


def _columns(rows: Rows, heads: Mapping[str, str]) -> Table:
    """Return which network each row is about, and these columns under their heads."""
    lines = []
    for row in rows:
        about = row["dataset"], row["architecture"], f"{row['epsilon_test']:.3g}", TRAININGS[row["training"]]
        lines.append((*about, *(row[column] for column in heads)))
    return Table(("data set", "network", "eps test", "trained with", *heads.values()), lines)


@table_6.table
def settings(rows: Rows) -> Table:
    """Return the printed columns, each computed from the configuration's schedules."""
    heads = {column: head for column, (head, _) in PRINTED.items()}
    return _columns(rows, heads | {"learning_rates": "schedule", "elision": "elision"})


@table_6.table
def schedules(rows: Rows) -> Table:
    """Return what follows from them: epochs, batch size, epochs at full radius, and the last learning rate."""
    heads = {"epochs": "epochs", "batch_size": "batch", "full": "epochs at full radius"}
    return _columns(rows, heads | {"last_rate": "last learning rate"})


@table_6.cells
def cells(rows: Rows) -> Values:
    """Yield `table-6/FC-0.3/box/eps-train` and so on, of MNIST; `table-6/FC-0.3/box/elision` is 1 for "yes"."""
    for row in rows.where(dataset="mnist"):
        prefix = f"table-6/{row['architecture']}-{row['epsilon_test']:g}/{row['training']}"
        yield from ((f"{prefix}/{cell}", Value(row[column])) for column, (_, cell) in PRINTED.items())
        yield from ((f"{prefix}/{cell}", Value(int(row[column] == word))) for column, (cell, word) in WORDS.items())
