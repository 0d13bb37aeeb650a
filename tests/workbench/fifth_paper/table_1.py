"""Table 1 of a fifth paper: clean accuracy of networks on the first test images."""

from collections.abc import Mapping, Sequence

from tightrope.workbench.cases import dataset, entry, image_count, network_sha256
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.registry import Value
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

table_1 = Experiment("demo2027-clean", "table-1-clean-accuracy")


@table_1.cases
def cases(networks: Sequence[str], images: int) -> list[dict]:
    """Return one case for each network."""
    counts = {name: image_count(images, dataset(entry(name).dataset)) for name in networks}
    return [{"network": n, "network_sha256": network_sha256(n), "images": count} for n, count in counts.items()]


@table_1.solve
def count_correct(case: Mapping) -> dict:
    """Count the images that are labelled rightly."""
    network = entry(case["network"])
    data = dataset(network.dataset)
    predicted = network.network.predict(network.normalisation.to_input(data.images[: case["images"]]))
    return {"correct": int((predicted == data.labels[: case["images"]]).sum())}


@table_1.table
def accuracies(rows: Rows) -> Table:
    """Return the accuracy in percent by network."""
    return Table(("network", "accuracy %"), [(row["network"], 100 * row["correct"] / row["images"]) for row in rows])


@table_1.cells
def cells(rows: Rows) -> dict[str, Value]:
    """Return `table-1/accuracy`."""
    return {"table-1/accuracy": Value(100 * rows.total("correct") / rows.total("images"))}
