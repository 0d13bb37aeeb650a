"""Tables 5 and 6: the printed architectures and hyperparameters, as what the training here is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tightrope import zoo
from tightrope.errors import UnknownNameError
from tightrope.results.jovanovic2022_paradox.common import TRAININGS, plain_case
from tightrope.training import ARCHITECTURES, Architecture
from tightrope.training.printed import CONFIGURATIONS, configuration
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.parameters import rows_of
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value
from tightrope.workbench.tables import Table

TABLE_5, TABLE_6 = "table-5-architectures", "table-6-hyperparameters"

# ------------------------------------------------------------------------------------------------- Table 5


@dataclass(frozen=True)
class Table5:
    """Rows of Table 5."""

    rows: tuple[dict, ...]

    @property
    def layers(self) -> Table:
        """One line for each layer: what is printed, the shape of its outputs, its weights and biases."""
        lines = []
        for row in self.rows:
            for i, (text, shape, count) in enumerate(zip(row["layers"], row["shapes"], row["parameters"], strict=True)):
                lines.append((row["architecture"] if not i else "", text, " x ".join(map(str, shape)), count))
        return Table(("network", "layer", "outputs", "weights and biases"), tuple(lines))

    @property
    def totals(self) -> Table:
        """Neurons with a ReLU and parameters of each network, beside those of published weights where there are any."""
        lines = [(row["architecture"], " x ".join(map(str, row["input_shape"])), row["neurons"],
                  sum(row["parameters"]), row["published"] or "") for row in self.rows]  # fmt: skip
        return Table(("network", "images", "neurons", "parameters", "in published weights"), tuple(lines))


def table_5(
    architectures: Sequence[str],
    input_shapes: Sequence[Sequence[int]],
    networks: Sequence[str | None],
    profile: str = "quick",
    store: Store | None = None,
) -> Table5:
    """Table 5: shapes and parameters of the architectures.

    Parameters
    ----------
    architectures
        As :meth:`tightrope.training.Architecture.parse` reads them.
    input_shapes
        (channels, height, width) of the images of each.
    networks
        For each a network of the zoo that has it, or None: its weights are counted too.
    """
    parameters = dict(architectures=architectures, input_shapes=input_shapes, networks=networks, profile=profile)
    return Table5(solved(table_5_cases(parameters), count_parameters, store))


@checked()
def table_5_cases(parameters: Mapping) -> list[dict]:
    """One case per architecture."""
    return [
        plain_case(TABLE_5, parameters["profile"], architecture=text, input_shape=list(shape), weights=network)
        for text, shape, network in rows_of(parameters, "architectures", "input_shapes", "networks")
    ]


def count_parameters(case: Mapping) -> dict:
    """Shapes and numbers of parameters of one architecture."""
    found = Architecture.parse(case["architecture"], tuple(case["input_shape"]))
    published = None
    if case["weights"] is not None:
        layers = zoo.get(case["weights"]).network.layers
        published = sum(layer.weight.size + layer.bias.size for layer in layers)
    return {
        "layers": [part.strip() for part in ARCHITECTURES.get(found.text, found.text).split(",")],
        "shapes": [list(shape) for shape in found.shapes[1:]],
        "sizes": [layer.size for layer in found.layers],
        "parameters": list(found.parameters),
        "neurons": sum(found.sizes[1:-1]),
        "published": published,
    }


def table_5_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """`table-5/FC/layer-1` and so on: neurons, or kernels of a convolution."""
    note = "kernels of a convolution, neurons of other layers"
    return {
        f"table-5/{row['architecture']}/layer-{i}": Value(size, note)
        for row in rows
        for i, size in enumerate(row["sizes"], 1)
    }


# ------------------------------------------------------------------------------------------------- Table 6


@dataclass(frozen=True)
class Table6:
    """Rows of Table 6."""

    rows: tuple[dict, ...]

    @property
    def settings(self) -> Table:
        """The printed columns, each computed from the configuration's schedules."""
        names = ("epsilon_train", "warm_up", "ramp_up", "kappa_end", "l1", "learning_rate", "learning_rates", "elision")
        lines = [(row["dataset"], row["architecture"], f"{row['epsilon_test']:.3g}", TRAININGS[row["training"]],
                  *(row[name] for name in names)) for row in self.rows]  # fmt: skip
        head = ("data set", "network", "eps test", "trained with", "eps train", "N_w", "N_r", "kappa end", "lambda",
                "alpha", "schedule", "elision")  # fmt: skip
        return Table(head, tuple(lines))

    @property
    def schedules(self) -> Table:
        """What follows from them: epochs, batch size, epochs at full radius, and the last learning rate."""
        lines = [(row["dataset"], row["architecture"], f"{row['epsilon_test']:.3g}", TRAININGS[row["training"]],
                  row["epochs"], row["batch_size"], row["full"], row["last_rate"]) for row in self.rows]  # fmt: skip
        head = ("data set", "network", "eps test", "trained with", "epochs", "batch", "epochs at full radius",
                "last learning rate")  # fmt: skip
        return Table(head, tuple(lines))


def table_6(
    datasets: Sequence[str], epsilons: Sequence[float], profile: str = "quick", store: Store | None = None
) -> Table6:
    """Table 6 (and Appendix G for the other data sets): the configurations that the training here takes.

    Parameters
    ----------
    datasets
        Of "mnist", "fashionmnist", "svhn", "cifar10".
    epsilons
        The radii that networks are certified at, in pixel units; those that a data set has no network for are left out.
    """
    parameters = dict(datasets=datasets, epsilons=epsilons, profile=profile)
    return Table6(solved(table_6_cases(parameters), read_configuration, store))


@checked()
def table_6_cases(parameters: Mapping) -> list[dict]:
    """One case per network of the paper."""
    for data in parameters["datasets"]:
        if data not in CONFIGURATIONS:
            raise UnknownNameError("dataset", data, CONFIGURATIONS)
    wanted = {f"{epsilon:.4g}" for epsilon in parameters["epsilons"]}
    return [
        plain_case(TABLE_6, parameters["profile"], dataset=data, architecture=network, epsilon_test=round(epsilon, 6),
                   training=training)
        for data in parameters["datasets"]
        for network, epsilon, training in CONFIGURATIONS[data]
        if f"{epsilon:.4g}" in wanted
    ]  # fmt: skip


def read_configuration(case: Mapping) -> dict:
    """The printed columns as the schedules give them, epoch by epoch."""
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


def table_6_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """`table-6/FC-0.3/box/eps-train` and so on, of MNIST."""
    names = {"eps-train": "epsilon_train", "warm-up": "warm_up", "ramp-up": "ramp_up", "kappa-end": "kappa_end",
             "lambda": "l1", "alpha": "learning_rate"}  # fmt: skip
    return {
        f"table-6/{row['architecture']}-{row['epsilon_test']:g}/{row['training']}/{name}": Value(row[column])
        for row in rows
        if row["dataset"] == "mnist"
        for name, column in names.items()
    }
