"""What the results of this paper share: names of networks and relaxations, cases, regions of many images at once."""

from collections.abc import Callable, Mapping

import numpy as np

from tightrope import zoo
from tightrope.propagation.lines import RELAXATIONS
from tightrope.workbench.cases import dataset, entry, network_sha256
from tightrope.workbench.records import Store

PAPER = "jovanovic2022-paradox"
#: How a network was trained: part of its name -> the paper's words.
TRAININGS = {
    "box": "Box",
    "hbox": "hBox",
    "crown-ibp-r": "CROWN-IBP (R)",
    "deepz": "DeepZ",
    "crown": "CROWN",
    "crown-ibp": "CROWN-IBP",
}
#: The relaxation that certifies a network of each training: CROWN-IBP ends with the loss of Box and is certified by it.
OWN = {"box": "box", "hbox": "hbox", "crown-ibp-r": "crown_ibp", "deepz": "deepz", "crown": "crown", "crown-ibp": "box"}
#: The columns of Table 7.
CERTIFIERS = ("box", "hbox", "crown_ibp", "deepz", "crown")


def parts(network: str) -> tuple[str, str]:
    """What a network is and how it was trained, by its name.

    Examples
    --------
    >>> parts("jovanovic2022-paradox/cifar10-conv-plus-crown-ibp-r"), parts("digits/fc-natural")
    (('cifar10-conv-plus', 'crown-ibp-r'), ('fc', 'natural'))
    """
    name = network.split("/")[-1]
    known = [training for training in TRAININGS if name.endswith(f"-{training}")]
    if known:
        training = max(known, key=len)
        return name[: -len(training) - 1], training
    kind, _, training = name.partition("-")
    return kind, training


def title(relaxation: str) -> str:
    """A relaxation as the paper writes it."""
    return RELAXATIONS[relaxation].title


def make_case(
    result: str, profile: str, network: str, epsilon_pixel: float, method: str, options: Mapping, **rest
) -> dict:
    """One network, one radius, one method: what identifies a row; `rest` names images."""
    found = entry(network)
    return {
        "paper": PAPER,
        "result": result,
        "profile": profile,
        "network": network,
        "network_sha256": network_sha256(network),
        "dataset": found.dataset,
        "norm": "inf",
        "epsilon_pixel": float(epsilon_pixel),
        "clip": True,
        "method": method,
        "options": dict(options),
        **rest,
    }


def plain_case(result: str, profile: str, **identity) -> dict:
    """A case without a network of the zoo."""
    return {"paper": PAPER, "result": result, "profile": profile, **identity}


def kept_or_solved(case: Mapping, kind: str, solve: Callable[[Mapping], Mapping]) -> dict:
    """The outcome of a case that is also one of another kind of row: that row's if it is kept, solved if not."""
    asked = {**case, "result": kind}
    with Store() as store:
        store.import_csv(kind, case["profile"], PAPER)
        row = store.get(asked)
    known = {*case, "versions", "created", "key"}
    return {name: v for name, v in row.items() if name not in known} if row is not None else dict(solve(asked))


def questions(case: Mapping) -> tuple[zoo.Entry, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The network of a case and, for its images, inputs, lower and upper ends of the boxes, and labels."""
    found, data = entry(case["network"]), dataset(case["dataset"])
    rows = slice(case["first"], case["first"] + case["count"])
    pixels, epsilon = data.images[rows], case["epsilon_pixel"]
    to_input = found.normalisation.to_input
    # One box for each image, cut to the pixel range; the map is monotone, so the ends are those of the pixels.
    lower, upper = np.clip(pixels - epsilon, 0, 1), np.clip(pixels + epsilon, 0, 1)
    return found, to_input(pixels), to_input(lower), to_input(upper), np.array(data.labels[rows])


def to_mask(chosen: np.ndarray) -> str:
    """Booleans as hexadecimal text, the first one in the highest bit."""
    return np.packbits(np.asarray(chosen, bool)).tobytes().hex()


def from_mask(text: str, count: int) -> np.ndarray:
    """The booleans of :func:`to_mask`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(str(text)), np.uint8), count=count).astype(bool)
