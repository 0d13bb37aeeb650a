"""What the results of this paper share: names of networks and relaxations, boxes of many images, broken curves."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tightrope import paths, zoo
from tightrope.networks import FeedForward
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.threads import one_torch_thread
from tightrope.training.losses import CERTIFIER
from tightrope.training.printed import METHODS
from tightrope.training.programs import PROGRAMS
from tightrope.training.tightness import TABLE_3 as TRAINED_HERE
from tightrope.verifiers.triangle import layerwise_bounds
from tightrope.workbench.cases import dataset, entry
from tightrope.workbench.experiment import Case, Rows
from tightrope.workbench.records import case_key
from tightrope.workbench.rows import counted

PAPER = "jovanovic2022-paradox"
#: A relaxation, linear program or mixture -> its name in the paper.
TITLES = {name: relaxation.title for name, relaxation in RELAXATIONS.items()} | {
    "triangle": "Triangle",
    "parallelogram": "Parallelogram",
    "crown_ibp_hybrid": "CROWN-IBP",
}
#: How a network was trained, the last part of its name -> the paper's words.
TRAININGS = {training: TITLES[method] for training, method in METHODS.items()}
#: The same -> the relaxation that certifies it: CROWN-IBP ends with the loss of Box and is certified by it.
OWN = {training: CERTIFIER[method] for training, method in METHODS.items()}
#: The columns of Table 7.
CERTIFIERS = ("box", "hbox", "crown_ibp", "deepz", "crown")


def parts(network: str) -> tuple[str, str]:
    """Return what a network is and how it was trained, by its name.

    Examples
    --------
    >>> parts("jovanovic2022-paradox/cifar10-conv-plus-crown-ibp-r"), parts("digits/fc-natural")
    (('cifar10-conv-plus', 'crown-ibp-r'), ('fc', 'natural'))
    """
    name = network.split("/")[-1]
    known = (training for training in TRAININGS if name.endswith(f"-{training}"))
    training = max(known, key=len, default=name.partition("-")[2])
    return name.removesuffix(f"-{training}"), training


def letter_of(network: str) -> str | None:
    """Return the experiment of Table 3 that a network of the zoo belongs to, or None."""
    return next((letter for letter, found in TRAINED_HERE.items() if found.name == network), None)


#: Part of a network's name -> as the paper prints it.
_PRINTED = {"fashionmnist-": "FashionMNIST ", "cifar10-": "CIFAR-10 ", "svhn-": "SVHN ", "-plus": "+"}
_PRINTED |= {"fc": "FC", "conv": "CONV", "small": "SMALL"}


def label(network: str) -> str:
    """Return a network's name as tables show it.

    Examples
    --------
    >>> label("mnist/fc-small-natural"), label("digits/fc-crown-ibp-r"), label("digits/fc-natural")
    ('F: FC-SMALL, natural', 'FC, CROWN-IBP (R)', 'FC, natural')
    """
    letter = letter_of(network)
    if letter is None:
        kind, training = parts(network)
        for word, printed in _PRINTED.items():
            kind = kind.replace(word, printed)
        return f"{kind}, {TRAININGS.get(training, training)}"
    found = TRAINED_HERE[letter].printed
    training = found.method if found.method == "natural" else f"PGD {found.schedule.epsilon:g}"
    return f"{letter}: {found.architecture}, {training}"


def trained_here(letter: str, images: int) -> str:
    """Return the note of a number that is another network's than the paper's."""
    ours, printed = TRAINED_HERE[letter].ours, TRAINED_HERE[letter].printed
    epochs = (ours.schedule.epochs, printed.schedule.epochs)
    how = "as printed" if epochs[0] == epochs[1] else f"for {epochs[0]} of the printed {epochs[1]} epochs"
    how += " but for L2 (erratum 12)" if ours.l2 != printed.l2 else ""
    return f"another network of the same kind, trained here {how}; first {images} images"


def size_here(rows: Rows) -> str:
    """Return how much the rows are about, and for how many epochs their networks were trained here."""
    known = [TRAINED_HERE[letter] for network in rows.different("network") if (letter := letter_of(network))]
    if not known:
        return rows.size()
    ours, printed = ([getattr(one, which).schedule.epochs for one in known] for which in ("ours", "printed"))
    return f"{rows.size()}; {counted(ours, 'epoch').removesuffix(' epochs')} of {max(printed)} epochs"


def one_image(rows: Rows) -> float:
    """Return one image in percent: an attack may end on its other side on another processor."""
    return round(100 / min(own.total("count") for _, own in rows.by("network")), 2)


def share(rows: Rows, name: str) -> float:
    """Return the sum of a column in percent of the images, with two digits."""
    return round(100 * rows.total(name) / rows.total("count"), 2)


def questions(case: Case) -> tuple[zoo.Entry, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the network of a case and, for N images, inputs, lower and upper ends of boxes (N, n), labels (N,).

    `epsilon_pixel` of the case may also be a column (N, 1), one radius for each image.
    """
    found, data = entry(case["network"]), dataset(case["dataset"])
    rows = slice(case["first"], case["first"] + case["count"])
    pixels, epsilon = data.images[rows], case["epsilon_pixel"]
    to_input = found.normalisation.to_input
    # One box for each image, cut to the pixel range; the map is monotone, so the ends are those of the pixels.
    lower, upper = np.clip(pixels - epsilon, 0, 1), np.clip(pixels + epsilon, 0, 1)
    return found, to_input(pixels), to_input(lower), to_input(upper), np.array(data.labels[rows])


def certified_boxes(
    network: FeedForward, lower: np.ndarray, upper: np.ndarray, labels: np.ndarray, method: str, consider: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return which boxes (N,), of those to consider, a relaxation certifies; how many linear programs it solved."""
    with one_torch_thread():
        if method not in PROGRAMS:
            return certify(network, InputSet.boxes(lower, upper), labels, method, consider=consider).certified, 0
        certified, programs = np.zeros(len(labels), bool), 0
        for n in np.flatnonzero(consider):
            bounds = layerwise_bounds(network, lower[n], upper[n], int(labels[n]), method)
            certified[n] = (np.delete(bounds.margins, labels[n]) < 0).all()
            programs += bounds.programs
    return certified, programs


def broken(x: Sequence[float], y: Sequence[float], jumps: Sequence[Sequence[float]]) -> tuple[list, list]:
    """Return a curve with both values and a gap at each jump (at, before, after)."""
    pieces = [((at, before), (at, float("nan")), (at, after)) for at, before, after in jumps]
    points = sorted([*(((a, b),) for a, b in zip(x, y, strict=True)), *pieces], key=lambda piece: piece[0][0])
    curve = [point for piece in points for point in piece]
    return [a for a, _ in curve], [b for _, b in curve]


@contextmanager
def checkpoint(case: Case) -> Iterator[Path]:
    """Give the file in which a training is kept after each epoch; it stays if the training is interrupted."""
    file = paths.CHECKPOINTS / f"{case_key(case)}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    yield file
    file.unlink(missing_ok=True)


def best_mean(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Say which training has the highest mean over its seeds in each panel of :func:`tightrope.figures.spreads`."""
    said = []
    for name, own in panels.items():
        means = {method: round(float(np.mean(seeds)), 9) for method, seeds in own.items()}
        most = max(means.values())
        best = " and ".join(method for method, mean in means.items() if mean == most)
        said.append(f"{most:.1f} % by {best} ({name})")
    return f"The highest mean: {', '.join(said)}"


def who_jumps(rows: Rows) -> str:
    """Say which relaxations have jumps in their rows, and which have none."""
    found = {TITLES[method]: any(row["jumps"] for row in own) for (method,), own in rows.by("method")}
    some, none = (", ".join(name for name, jumps in found.items() if jumps is wanted) for wanted in (True, False))
    return f"Jumps are found in the bounds of {some or 'none'}" + (f"; there are none in {none}" if none else "")
