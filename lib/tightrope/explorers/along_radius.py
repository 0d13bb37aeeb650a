"""Explorer of one image: what each relaxation proves of it as the radius grows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from tightrope import figures, zoo
from tightrope.explorers.controls import NetworkControl, Radius, number_slider, page
from tightrope.explorers.explorer import View, explores
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.question import Stop
from tightrope.results.jovanovic2022_paradox.common import TITLES, label
from tightrope.results.jovanovic2022_paradox.tightness import CURVES
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import dataset, entry
from tightrope.workbench.tables import Table

#: Radii of a curve, from 0 to the chosen one.
RADII = 41


@dataclass(frozen=True, eq=False)
class Proofs:
    """Bounds of one image at (R,) radii in pixel units; nothing can be certified unless it is labelled rightly.

    By relaxation, `margins` are (R,) upper bounds of the largest F_k - F_label, rounding not included, and `certified`
    (R,) of bool, rounding included.
    """

    about: str
    right: bool
    radii: np.ndarray
    margins: Mapping[str, np.ndarray]
    certified: Mapping[str, np.ndarray]


def proofs_view(answer: Proofs) -> View:
    """Draw the bounds over the radius, as far as they are near 0, and list how far each relaxation certifies."""
    high = max(1.0, *(abs(margins[0]) for method, margins in answer.margins.items() if method != "crown_0"))
    lines = {
        TITLES[method]: (answer.radii, np.where(margins > high, np.nan, margins))
        for method, margins in answer.margins.items()
    }
    lines["0"] = (answer.radii[[0, -1]], [0.0, 0.0])
    labels = ("radius, pixel units", "bound of the largest margin")
    png = figures.curves({answer.about: lines}, labels, "bounds over the radius")._repr_png_()
    reaches, rows = {}, []
    for method, certified in answer.certified.items():
        reach = _reach(answer.radii, certified)
        reaches[TITLES[method]] = "none" if reach is None else str(reach)  # one of the grid's: every digit
        rows.append((TITLES[method], reaches[TITLES[method]], float(answer.margins[method][-1])))
    last = "bound at the largest radius"
    table = Table(("relaxation", "certified up to radius", last), tuple(rows), bounds={last: "upper"})
    headline = "certified where the bound is below 0" if answer.right else "labelled wrongly: nothing to certify"
    text = f"{answer.about}: certified up to " + ", ".join(map(" ".join, reaches.items()))
    return View(png, page(headline, [answer.about], table), text)


def _reach(radii: np.ndarray, certified: np.ndarray) -> float | None:
    """The largest radius up to which all are certified."""
    if not certified[0]:
        return None
    return float(radii[np.argmin(certified) - 1 if not certified.all() else -1])


def _choice(name: str) -> NetworkControl:
    known = (name for name in zoo.names() if name.startswith(("digits/fc-", "mnist/")) and zoo.available(name))
    return NetworkControl(name, {*known, name})


@explores("Certificates along the radius", proofs_view)
def radius_curves(
    network: Annotated[str, _choice] = "digits/fc-natural",
    image: Annotated[int, lambda value: number_slider(value, 359, "test image")] = 0,
    epsilon: Radius = 0.05,
    *,
    stop: Stop,
) -> Iterator[Proofs]:
    """Explore what six relaxations prove about one image for radii up to epsilon, cheapest first.

    The network is a feed-forward one of the zoo, the test image counts from 0, radii are for pixels in [0, 1].
    """
    found = entry(network)
    data = dataset(found.dataset)
    pixels, true = data.image(image), data.label(image)
    radii = np.linspace(0, epsilon, RADII).round(9)
    lower, upper = (np.clip(pixels + sign * radii[:, None], 0, 1) for sign in (-1, 1))
    boxes = InputSet.boxes(*map(found.normalisation.to_input, (lower, upper)))
    right = int(found.network.predict(found.normalisation.to_input(pixels))) == true
    answer = Proofs(f"{label(network)}: test image {image}, a {true}", right, radii, {}, {})
    for method in CURVES:
        if stop():
            return
        with one_torch_thread():
            proof = certify(found.network, boxes, np.full(RADII, true), method)
        margins = {**answer.margins, method: proof.worst}
        answer = replace(answer, margins=margins, certified={**answer.certified, method: proof.certified})
        yield answer
