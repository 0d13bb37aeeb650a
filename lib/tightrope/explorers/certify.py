"""Explorers of one image: its certificate (bounds, attack, ellipse), and its attack alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
from ipywidgets import Dropdown

from tightrope import figures
from tightrope.errors import UnknownNameError
from tightrope.explorers.certification import CLOSEST, TRUE, Answer, Certification, batches, entry
from tightrope.explorers.controls import (
    OTHER,
    Clip,
    ImageNumber,
    NormName,
    Radius,
    check,
    choice,
    network_choice,
    page,
    still_open,
)
from tightrope.explorers.explorer import Memo, View, explores
from tightrope.figures.drawing import CERTIFIED
from tightrope.networks import MonDEQ
from tightrope.outward import at_most
from tightrope.question import Limits, Stop, Verdict
from tightrope.relaxations.lasserre import LARGEST
from tightrope.solvers import conic
from tightrope.verifiers import robustness
from tightrope.verifiers.report import label_table
from tightrope.workbench.tables import Table

_WORDS = {
    Verdict.CERTIFIED: "certified: no point of the region has another label",
    Verdict.COMPUTED: "computed: a solver found no point with another label, without a proof",
    Verdict.FALSIFIED: "falsified: a point of the region does not have the true label",
    Verdict.UNKNOWN: "unknown: neither a proof nor an attack",
    Verdict.FAILED: "failed: a solver gave no bound",
    None: "open: not every label is decided yet",
}
COLOURS = {Verdict.CERTIFIED: CERTIFIED, Verdict.FALSIFIED: "#a8551a"}


def certificate_view(answer: Answer) -> View:
    """Show an answer: the picture, a table with a row per label, and the verdict in a line."""
    known = [answer.decision(k) for k in answer.targets]
    drawing = figures.certificate(
        answer.pixels,
        answer.attack_pixels,
        answer.shape,
        titles=_titles(answer),
        margins=[(d.label, d.nominal_margin, d.attack_margin, d.bound, answer.verdict_of(d.label)) for d in known],
        label=answer.label,
        projection=_projection(answer),
    )
    table = Table(*label_table(known))
    lines = [answer.about, _ellipse_line(answer), still_open(answer)]
    text = page(_WORDS[answer.verdict], lines, table, COLOURS.get(answer.verdict, OTHER))
    return View(drawing._repr_png_(), text, f"{answer.about}: {_short(answer)}")


def attack_view(answer: Answer) -> View:
    """Show an attack: image, attacked image, difference, scores."""
    row = {
        "predicted": answer.predicted,
        "label": answer.label,
        "scores": answer.scores.tolist(),
        "attack_label": None if answer.attack is None else answer.attack.label,
        "attack_scores": None if answer.attack_scores is None else answer.attack_scores.tolist(),
    }
    drawing = figures.adversarial_example(answer.pixels, answer.attack_pixels, answer.shape, row)
    columns, rows = label_table(answer.decision(k) for k in answer.targets)
    table = Table(columns[:3], [line[:3] for line in rows])
    attack = answer.attack
    found = "no attack found (this proves nothing)" if attack is None else f"attack found, label {attack.label}"
    return View(drawing._repr_png_(), page(found, [answer.about], table), f"{answer.about}: {found}")


def _titles(answer: Answer) -> tuple[str, str]:
    before = f"image {answer.image}: a {answer.label}"
    if answer.predicted != answer.label:
        before += f", seen as a {answer.predicted}"
    if answer.attack_margin is None:
        return before, "attacking ..."
    return before, "no attack found" if answer.attack is None else f"attack: seen as a {answer.attack.label}"


def _projection(answer: Answer) -> dict:
    """What is drawn of the outputs at two labels."""
    i, j = answer.pair
    names = [f"{'true ' if k == answer.label else ''}label {k}" for k in (i, j)]
    if i == j:
        return {"names": names, "note": "choose two different labels"}
    take = [i, j]
    return {
        "names": names,
        "center": answer.scores[take],
        "cloud": None if answer.cloud is None else answer.cloud[:, take],
        "attack": None if answer.attack_scores is None else answer.attack_scores[take],
        "boundary": None if answer.ellipsoid is None else answer.ellipsoid.projection(i, j),
        "true": take.index(answer.label) if answer.label in take else None,
        "note": answer.note,
    }


def _ellipse_line(answer: Answer) -> str:
    if answer.ellipsoid is None:
        return f"no outer ellipsoid: {answer.note}" if answer.note else ""
    i, j = answer.pair
    text = f"outer ellipsoid: log det Q = {answer.ellipsoid.log_det:.1f}"
    if answer.label in (i, j) and i != j:
        other = j if i == answer.label else i
        direction = np.eye(len(answer.scores))[other] - np.eye(len(answer.scores))[answer.label]
        text += f"; it proves F_{other} - F_{answer.label} <= {at_most(answer.ellipsoid.support(direction), 3)}"
    return text


def _short(answer: Answer) -> str:
    """The outcome without numbers that depend on the machine."""
    verdict = "open" if answer.verdict is None else answer.verdict.value
    proven = sum(answer.verdict_of(k) is Verdict.CERTIFIED for k in answer.targets)
    reached = sum(answer.verdict_of(k) is Verdict.FALSIFIED for k in answer.targets)
    return f"{verdict}; of {len(answer.targets)} other labels {proven} proven below, {reached} reached by an attack"


# ----------------------------------------------------------------------------------------------- what is asked


def _methods(state: Mapping) -> list[str]:
    """What verifies the network, of its kind; MOSEK where it has a licence, or is asked for."""
    known = robustness.methods(entry(state["network"]).network)
    return [name for name in known if name != "mosek" or conic.licensed() or state["method"] == name]


def _orders(state: Mapping) -> list[str]:
    """The orders that go with the method and with the size of the network."""
    network, known = entry(state["network"]).network, robustness.METHODS[state["method"]].orders
    neurons = network.width if isinstance(network, MonDEQ) else sum(network.sizes[1:-1])
    small = network.input_size + neurons <= LARGEST
    return [order for order in known if small or order != "2"]


def _start(values: dict) -> dict:
    """The labels of the ellipse as the controls have them; a method that is not the network's is refused."""
    if values["method"] not in _methods(values):
        raise UnknownNameError("method", values["method"], _methods(values))
    i, j = values["labels"]
    return {**values, "i": TRUE if i is None else i, "j": CLOSEST if j is None else j}


def _label(special: str, value: int, description: str) -> Callable[[int], Dropdown]:
    options = [(special, value), *((str(k), k) for k in range(10))]
    return lambda chosen: choice(chosen, options, description)


@explores(
    "certificate",
    certificate_view,
    follow={"method": _methods, "order": _orders},
    unused=lambda values: () if isinstance(values["network"], str) else ("network",),
    start=_start,
)
def certify(
    network: Annotated[str, network_choice] = "digits/mondeq-16",
    image: ImageNumber = 0,
    norm: NormName = "inf",
    epsilon_pixel: Radius = 0.05,
    clip: Clip = True,
    method: Annotated[str, lambda value: choice(value, robustness.METHODS, "method")] = "cascade",
    order: Annotated[str, lambda value: choice(value, robustness.ORDERS, "order")] = "1",
    ellipse: Annotated[bool, lambda value: check(value, "outer ellipsoid")] = True,
    labels: tuple[int | None, int | None] = (None, None),
    *,
    i: Annotated[int, _label("true label", TRUE, "ellipse of")] = TRUE,
    j: Annotated[int, _label("closest label", CLOSEST, "and of")] = CLOSEST,
    time_limit: float = 20.0,
    seed: int = 0,
    parts: Memo,
    stop: Stop,
) -> Iterator[Answer | None]:
    """Explore what is known of one image: attack, a proven bound per label, verdict, outer ellipse.

    Parameters
    ----------
    network, image
        A name of the zoo, or an entry of one's own (:func:`tightrope.zoo.own`), which has no list to choose from; a
        test image, counted from 0, of which the slider has the first hundred.
    norm, epsilon_pixel, clip
        The region: 1, 2 or inf; radius for pixels in [0, 1]; whether it is cut to the pixel range.
    method, order
        Of :func:`tightrope.verifiers.robustness.certify`.
    ellipse, labels
        Whether to compute the outer ellipsoid, and the labels that it is projected onto; None stands for the true
        and for the closest label.
    time_limit
        Seconds for one solve.
    """
    limits = Limits(time=time_limit, seed=seed, stop=stop)
    asked = Certification((network, image, norm, epsilon_pixel, clip), parts, limits)
    answer = asked.question(i, j)
    yield None
    answer = asked.enclosed(asked.attacked(answer), method)
    yield replace(answer, open="bounds")
    every = batches(answer, method, order)
    for number, batch in enumerate(every, 1):
        answer = asked.decided(answer, batch, method, order)
        ready = number == len(every)
        yield replace(answer, open="ellipse" if ready else "bounds") if ellipse or not ready else None
    yield asked.with_ellipsoid(answer) if ellipse else answer


@explores("attack", attack_view)
def attack(
    network: Annotated[str, network_choice] = "digits/mondeq-16",
    image: ImageNumber = 0,
    norm: NormName = "inf",
    epsilon_pixel: Radius = 0.15,
    clip: Clip = True,
    *,
    seed: int = 0,
    parts: Memo,
    stop: Stop,
) -> Iterator[Answer | None]:
    """Explore targeted attacks on one image; the parameters are those of :func:`certify`."""
    asked = Certification((network, image, norm, epsilon_pixel, clip), parts, Limits(seed=seed, stop=stop))
    yield None
    yield asked.attacked(asked.question())
