"""Table 1 of a fifth paper: clean accuracy of networks on the first test images."""

from collections.abc import Sequence

from tightrope.workbench.cases import dataset, entry, first_images, network_sha256
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows, Value, Values

table_1 = Experiment("demo2027-clean", "table-1-clean-accuracy")


@table_1.cases
def cases(networks: Sequence[str], images: int) -> Cases:
    """Yield one case for each network."""
    for name in networks:
        yield {"network": name, "network_sha256": network_sha256(name), "images": len(first_images(name, images))}


@table_1.solve
def count_correct(case: Case) -> dict:
    """Count the images that are labelled rightly."""
    network = entry(case["network"])
    data = dataset(network.dataset)
    predicted = network.network.predict(network.normalisation.to_input(data.images[: case["images"]]))
    return {"correct": int((predicted == data.labels[: case["images"]]).sum())}


@table_1.lines("network | accuracy %")
def accuracies(rows: Rows) -> Lines:
    """Return the accuracy in percent by network."""
    for row in rows:
        yield row["network"], 100 * row["correct"] / row["images"]


@table_1.cells
def cells(rows: Rows) -> Values:
    """Yield `table-1/accuracy`."""
    yield "table-1/accuracy", Value(100 * rows.total("correct") / rows.total("images"))
