"""Explorers of one image: its certificate (bounds, attack, ellipse), and its attack alone."""

from collections.abc import Iterable, Mapping

import numpy as np

from tightrope import figures
from tightrope.explorers.certification import CLOSEST, TRUE, Answer, Certification, entry
from tightrope.explorers.controls import (
    OTHER,
    check,
    choice,
    clip_check,
    network_choice,
    norm_choice,
    number_slider,
    page,
    radius_slider,
    still_open,
)
from tightrope.explorers.explorer import Explorer, View
from tightrope.figures.drawing import CERTIFIED
from tightrope.networks import MonDEQ
from tightrope.outward import at_most
from tightrope.question import Verdict
from tightrope.regions import parse_norm
from tightrope.relaxations.lasserre import LARGEST
from tightrope.solvers import conic
from tightrope.verifiers import robustness
from tightrope.verifiers.report import label_table
from tightrope.workbench.tables import Table

CONTROLS = ("network", "image", "norm", "epsilon_pixel", "clip", "method", "order", "ellipse", "i", "j")
_WORDS = {
    Verdict.CERTIFIED: "certified: no point of the region has another label",
    Verdict.COMPUTED: "computed: a solver found no point with another label, without a proof",
    Verdict.FALSIFIED: "falsified: a point of the region does not have the true label",
    Verdict.UNKNOWN: "unknown: neither a proof nor an attack",
    Verdict.FAILED: "failed: a solver gave no bound",
    None: "open: not every label is decided yet",
}
COLOURS = {Verdict.CERTIFIED: CERTIFIED, Verdict.FALSIFIED: "#a8551a"}


def certify(
    network: str = "digits/mondeq-16",
    image: int = 0,
    norm: object = "inf",
    epsilon_pixel: float = 0.05,
    clip: bool = True,
    method: str = "cascade",
    order: str = "1",
    ellipse: bool = True,
    labels: tuple[int | None, int | None] = (None, None),
    *,
    controls: Iterable[str] = CONTROLS,
    time_limit: float = 20.0,
    seed: int = 0,
    background: bool = True,
) -> Explorer:
    """Explore what is known of one image: attack, a proven bound per label, verdict, outer ellipse.

    Parameters
    ----------
    network, image
        A name of the zoo, or an entry of one's own (:func:`tightrope.zoo.own`), which has no list to choose from; a
        test image, counted from 0, of which the slider has the first hundred.
    norm, epsilon_pixel, clip
        The region: 1, 2 or inf; radius for pixels in [0, 1]; whether it is cut to the pixel range.
    method, order
        Of :func:`tightrope.verifiers.robustness.certify`; the methods for layers can be chosen where network is fixed.
    ellipse, labels
        Whether to compute the outer ellipsoid, and the labels that it is projected onto; None stands for the true
        and for the closest label.
    controls, time_limit
        Which of these can be moved, the others keep their value; seconds for one solve.
    """
    i, j = (default if label is None else label for label, default in zip(labels, (TRUE, CLOSEST), strict=True))
    controls = [name for name in controls if name != "network" or isinstance(network, str)]
    fixed = _region(network, image, norm, epsilon_pixel, clip)
    fixed |= dict(method=method, order=str(order), ellipse=bool(ellipse), i=i, j=j)
    certification = Certification(seed, time_limit)
    return _explorer("certificate", fixed, controls, certification, certificate_view, background)


def attack(
    network: str = "digits/mondeq-16",
    image: int = 0,
    norm: object = "inf",
    epsilon_pixel: float = 0.15,
    clip: bool = True,
    *,
    controls: Iterable[str] = ("image", "norm", "epsilon_pixel", "clip"),
    seed: int = 0,
    background: bool = True,
) -> Explorer:
    """Explore targeted attacks on one image; the parameters are those of :func:`certify`."""
    fixed = _region(network, image, norm, epsilon_pixel, clip) | {"method": None}
    return _explorer("attack", fixed, controls, Certification(seed), attack_view, background)


def _region(network: object, image: int, norm: object, epsilon_pixel: float, clip: bool) -> dict:
    """What is asked about, as the controls have it."""
    ball = dict(norm=f"{parse_norm(norm):g}", epsilon_pixel=float(epsilon_pixel), clip=bool(clip))
    return dict(network=network, image=int(image), **ball)


def _methods(network: object, controls: Iterable[str]) -> tuple[str, ...]:
    """What verifies the network: of layers, if it is fixed and has some; what every network knows otherwise."""
    known = robustness.methods() if "network" in controls else robustness.methods(entry(network).network)
    return known if conic.licensed() else tuple(name for name in known if name != "mosek")


def _orders(state: Mapping) -> list[str]:
    """The orders that go with the method and with the size of the network."""
    network, known = entry(state["network"]).network, robustness.METHODS[state["method"]].orders
    neurons = network.width if isinstance(network, MonDEQ) else sum(network.sizes[1:-1])
    small = network.input_size + neurons <= LARGEST
    return [order for order in known if small or order != "2"]


def _explorer(title, fixed, controls, certification, view, background) -> Explorer:
    makers = {
        "network": network_choice,
        "image": lambda v: number_slider(v, 99, "image"),
        "norm": norm_choice,
        "epsilon_pixel": radius_slider,
        "clip": clip_check,
        "method": lambda v: choice(v, _methods(fixed["network"], controls), "method"),
        "order": lambda v: choice(v, robustness.ORDERS, "order"),
        "ellipse": lambda v: check(v, "outer ellipsoid"),
        "i": lambda v: choice(v, [("true label", TRUE), *((str(k), k) for k in range(10))], "ellipse of"),
        "j": lambda v: choice(v, [("closest label", CLOSEST), *((str(k), k) for k in range(10))], "and of"),
    }
    follow = {"order": _orders}
    return Explorer.around(fixed, makers, controls, title, certification.stages, view, background, follow)


# --------------------------------------------------------------------------------------------------- views


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
    facts = f"image {answer.image} (a {answer.label}, seen as a {answer.predicted})"
    lines = [facts, _ellipse_line(answer), still_open(answer)]
    text = page(_WORDS[answer.verdict], lines, table, COLOURS.get(answer.verdict, OTHER))
    return View(drawing._repr_png_(), text, f"{facts}: {_short(answer)}")


def attack_view(answer: Answer) -> View:
    """Show an attack: image, attacked image, difference, scores."""
    row = {
        "predicted": answer.predicted,
        "label": answer.label,
        "scores": answer.scores.tolist(),
        "attack_label": None if answer.attack is None else answer.attack.label,
        "attack_scores": None if answer.attack_scores is None else np.ravel(answer.attack_scores).tolist(),
    }
    drawing = figures.adversarial_example(answer.pixels, answer.attack_pixels, answer.shape, row)
    columns, rows = label_table(answer.decision(k) for k in answer.targets)
    table = Table(columns[:3], [line[:3] for line in rows])
    facts = f"image {answer.image} (a {answer.label}, seen as a {answer.predicted})"
    attack = answer.attack
    found = "no attack found (this proves nothing)" if attack is None else f"attack found, label {attack.label}"
    return View(drawing._repr_png_(), page(found, [facts], table), f"{facts}: {found}")


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
        "attack": None if answer.attack_scores is None else np.ravel(answer.attack_scores)[take],
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
