"""Table 5: the printed architectures, as the training here builds them."""

from collections.abc import Sequence

from tightrope import zoo
from tightrope.training import ARCHITECTURES, Architecture
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Names, Rows, Value, Values
from tightrope.workbench.parameters import rows_of
from .common import PAPER

table_5 = Experiment(PAPER, "table-5-architectures")


@table_5.cases
def cases(architectures: Names, input_shapes: Sequence[Sequence[int]], counted: Sequence[str | None]) -> Cases:
    """Return one case for each architecture, as :meth:`tightrope.training.Architecture.parse` reads it.

    `input_shapes` are (channels, height, width) of the images of each; `counted` are networks of the zoo that have it,
    whose weights are counted too, or None.
    """
    return [
        {"architecture": text, "input_shape": list(shape), "weights": network}
        for text, shape, network in rows_of(architectures=architectures, input_shapes=input_shapes, counted=counted)
    ]


@table_5.solve
def count_parameters(case: Case) -> dict:
    """Return shapes and numbers of parameters of one architecture."""
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


@table_5.lines("network | layer | outputs | weights and biases")
def layers(rows: Rows) -> Lines:
    """Return one line for each layer: what is printed, the shape of its outputs, its weights and biases."""
    for row in rows:
        for i, (text, shape, count) in enumerate(zip(row["layers"], row["shapes"], row["parameters"], strict=True)):
            yield row["architecture"] if i == 0 else "", text, " x ".join(map(str, shape)), count


@table_5.lines("network | images | neurons | parameters | in published weights")
def totals(rows: Rows) -> Lines:
    """Return neurons with a ReLU and parameters of each network, beside those of published weights if there are any."""
    for row in rows:
        counts = row["neurons"], sum(row["parameters"]), row["published"] or ""
        yield row["architecture"], " x ".join(map(str, row["input_shape"])), *counts


@table_5.cells
def cells(rows: Rows) -> Values:
    """Yield `table-5/FC/layer-1` and so on: neurons, or kernels of a convolution, then also their size and stride."""
    for row in rows:
        built = Architecture.parse(row["architecture"], tuple(row["input_shape"])).layers
        for i, (size, layer) in enumerate(zip(row["sizes"], built, strict=True), 1):
            name = f"table-5/{row['architecture']}/layer-{i}"
            yield name, Value(size, "kernels of a convolution, neurons of other layers")
            for what, count in zip(("height", "width", "stride"), layer.kernel or (), strict=False):
                yield f"{name}/{what}", Value(count)
