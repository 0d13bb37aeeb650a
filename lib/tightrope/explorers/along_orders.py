"""Explorer of the order as an axis: bounds of one label from box to exact, above what an attack attains."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Annotated

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import InputError, StoppedError, TightropeError
from tightrope.explorers.certification import entry
from tightrope.explorers.certify import COLOURS
from tightrope.explorers.controls import (
    OTHER,
    Clip,
    ImageNumber,
    NormName,
    Radius,
    network_choice,
    norm_name,
    number_slider,
    page,
    still_open,
)
from tightrope.explorers.explorer import Memo, View, explores
from tightrope.networks import FeedForward, MonDEQ
from tightrope.outward import at_least
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Limits, Question, Stop, Verdict
from tightrope.regions import Ball, pixel_ball
from tightrope.relaxations.lasserre import LARGEST
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import NOT_CERTIFIED, LabelDecision
from tightrope.verifiers.robustness import certify
from tightrope.workbench.cases import dataset
from tightrope.workbench.tables import Table

#: A network whose region can be drawn, small enough for order 2: two inputs, three units, two labels.
PLANE = "2 inputs, 3 units"
CENTER = (0.5, -0.3)
EXACT = "exact sign"  # branch and bound stops there; its bound need not be the largest margin
#: What the axis has of layers, of a monDEQ, and of both, from cheap to dear: methods of `certify`, fixpoints, orders.
LAYERS = ("Box", "DeepZ", "CROWN", "LP-GREEDY", "LP-LAST", "LP-ALL")
FIXPOINTS = ("interval", "zonotope")
SHOR = ("1", "1+bounds", "1+cuts", "2")
SECONDS = 60.0  # for an order


@dataclass(frozen=True)
class Step:
    """What an order says of F_k - F_y: a proven upper bound or None, a verdict, processor seconds, what is attained."""

    bound: float | None
    said: str
    seconds: float
    attained: float | None = None


@dataclass(frozen=True, eq=False)
class Orders:
    """What the `axis` of orders has so far: order -> step, and what an attack attains.

    `network` and `region` are there where they can be drawn.
    """

    about: str
    axis: tuple[str, ...]
    attained: float
    steps: Mapping[str, Step]
    network: MonDEQ | None = None
    region: Ball | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """The proven bounds."""
        return {order: step.bound for order, step in self.steps.items() if step.bound is not None}

    @property
    def open(self) -> str:
        """The orders that have not been asked yet, in words."""
        return ", ".join(self.axis[len(self.steps) :])

    @property
    def progress(self) -> str:
        """How many orders have been asked, in words."""
        return f"{len(self.steps)} of {len(self.axis)} orders"

    @property
    def verdict(self) -> Verdict:
        """What is known of the label."""
        if self.attained >= 0:
            return Verdict.FALSIFIED
        return Verdict.CERTIFIED if min(self.bounds.values(), default=0.0) < 0 else Verdict.UNKNOWN


def orders_view(answer: Orders) -> View:
    """Show the bounds in the order of their strength; the region beside them where it can be drawn."""
    known = answer.steps
    spent = {order: _spent(step) for order, step in known.items()}
    ticks = [f"{order}\n{spent.get(order, '')}" for order in answer.axis]
    bounds = {tick: answer.bounds.get(order, np.inf) for order, tick in zip(answer.axis, ticks, strict=True)}
    drawing = figures.order_axis(bounds, answer.attained, _plane(answer))
    verdict, first = answer.verdict, next((order for order, bound in answer.bounds.items() if bound < 0), "")
    words = {
        Verdict.FALSIFIED: "a point of the region reaches the label",
        Verdict.CERTIFIED: f"{first} is the first order that proves it",
        Verdict.UNKNOWN: f"no order {'so far ' if answer.open else ''}proves it, and no attack reaches it",
    }
    headline = f"{verdict.value}: {words[verdict]}"
    rows = [(order, step.bound, spent[order], step.said) for order, step in known.items()]
    columns = ("order", "F_k - F_y at most", "processor time", "label k")
    table = Table(columns, rows, bounds={columns[1]: "upper"})
    attained = f"a point attains {at_least(answer.attained, 3)}; every bound is proven, rounding included"
    text = page(headline, [answer.about, attained, still_open(answer)], table, COLOURS.get(verdict, OTHER))
    return View(drawing._repr_png_(), text, f"{answer.about}: {headline}")


def _spent(step: Step) -> str:
    """Its processor time in words; none of what was refused at once."""
    return f"{step.seconds:.2g} s" if step.seconds > 0.01 else "" if step.bound is None else "< 0.01 s"


def _plane(answer: Orders) -> Mapping | None:
    """The margin on a grid of the plane, (n, n), with the region's outline: what is drawn of two inputs."""
    network, region = answer.network, answer.region
    if network is None or region is None:
        return None
    label = int(network.predict(region.center))
    axes = [middle + 2 * region.radius * np.linspace(-1, 1, 161) for middle in region.center]
    points = np.stack(np.meshgrid(*axes), -1)
    scores = network.logits(points.reshape(-1, 2)).reshape(161, 161, -1)
    distance = np.linalg.norm(points - region.center, region.norm, axis=-1)
    return {"axes": axes, "margin": scores[..., 1 - label] - scores[..., label], "inside": distance - region.radius}


@explores("orders", orders_view)
def orders(
    network: Annotated[str, lambda value: network_choice(value, (PLANE,))] = "digits/mondeq-16",
    image: ImageNumber = 4,
    label: Annotated[int, lambda value: number_slider(value, 9, "label k")] = 8,
    norm: NormName = "inf",
    epsilon_pixel: Radius = 0.12,
    clip: Clip = False,
    *,
    parts: Memo,
    stop: Stop,
) -> Iterator[Orders]:
    """Explore what each order proves of one label; with the defaults 1 leaves it open and 1+cuts closes it.

    The attack comes first, then the orders from cheap to dear: for layers the linear bounds, for a monDEQ fixpoints,
    for both the orders of Shor's relaxation and branch and bound, each at most :data:`SECONDS`. The network is one of
    the zoo, or :data:`PLANE`, which has one image and two labels and whose ball, in units of its inputs, is never cut.
    Test images count from 0; the margin F_k - F_y of the label k is bounded.
    """
    asked, region, true, target, about = _question(network, image, label, str(norm), epsilon_pixel, clip)
    question = Question(asked, region, true, [target])
    found = attacks.pgd(question)
    sampled = asked.logits(region.sample(1000, np.random.default_rng(0)))
    attained = max(float(found.best_margin[target]), float((sampled[:, target] - sampled[:, true]).max()))
    cheap = FIXPOINTS
    if isinstance(asked, FeedForward):
        import_module("tightrope.verifiers.feedforward")  # with PyTorch, whose import is no order's time
        cheap = LAYERS
    small = question.neurons + region.size <= LARGEST
    axis = (*cheap, *(order for order in SHOR if small or order != "2"), EXACT)
    shown = {"network": asked, "region": region} if region.size == 2 else {}
    answer = Orders(about, axis, attained, {}, **shown)
    yield answer
    limits, key = Limits(time=SECONDS, stop=stop), (network, image, target, norm, epsilon_pixel, clip)
    for order in axis:
        step = parts.of((*key, order), lambda order=order: _step(question, order, limits))
        attained = attained if step.attained is None else max(attained, step.attained)
        answer = replace(answer, attained=attained, steps={**answer.steps, order: step})
        yield answer


def _step(question: Question, order: str, limits: Limits) -> Step:
    began = time.process_time()
    try:
        decision = _decision(question, order, limits)
    except StoppedError:
        raise
    except TightropeError as error:  # such as LP-ALL on a ball that is no box
        return Step(None, str(error), time.process_time() - began)
    said = "open" if decision.verdict is Verdict.UNKNOWN else decision.verdict.value
    said += f": {decision.reason}" if decision.reason not in ("", NOT_CERTIFIED) else ""
    bound = decision.bound if decision.bound is not None and np.isfinite(decision.bound) else None
    return Step(bound, said, time.process_time() - began, decision.attack_margin)


def _decision(question: Question, order: str, limits: Limits) -> LabelDecision:
    network, region, label, targets = question.network, question.region, question.label, question.targets
    if order in FIXPOINTS:
        with one_blas_thread():
            margins = fixpoint_bounds(question.mondeq, region, order).margins(question.mondeq, label)
        return LabelDecision(targets[0], np.nan).bounded(float(margins[targets[0]]), method=order)
    if order in SHOR and isinstance(network, FeedForward):
        from tightrope.verifiers.feedforward import LARGEST_STACK  # imports PyTorch

        if question.neurons > LARGEST_STACK:
            raise InputError(f"Shor's relaxation takes {LARGEST_STACK} hidden neurons at most, not {question.neurons}.")
    method = "interior-point" if order in SHOR else order.lower() if order in LAYERS else "branch-and-bound"
    options = {"targets": targets, "method": method, "order": order if order in SHOR else "1"}
    (decision,) = certify(network, region, label, attack=False, limits=limits, **options).decisions
    return decision


def _question(
    name: str, image: int, label: int, norm: str, radius: float, clip: bool
) -> tuple[MonDEQ | FeedForward, Ball, int, int, str]:
    """Network, region, y, k, and what they are called."""
    words = f"{norm_name(norm)} {radius:g}"
    if name == PLANE:
        true = int(plane().predict(CENTER))
        return plane(), Ball(CENTER, radius, norm), true, 1 - true, f"{PLANE}, {words}"
    found = entry(name)
    data = dataset(found.dataset)
    true = data.label(image)
    target = label if label != true else (label + 1) % found.network.classes
    region = pixel_ball(data.image(image), norm, radius, found.normalisation, clip)
    return found.network, region, true, target, f"image {image}, a {true}, against {target}, {words}"


@cache
def plane() -> MonDEQ:
    """Return the network of two inputs: at radius 0.6 around :data:`CENTER` only order 2 proves its label."""
    rng = np.random.default_rng(57)
    A, B, U = (rng.standard_normal(shape) for shape in [(3, 3), (3, 3), (3, 2)])
    u, C, c = (rng.standard_normal(shape) for shape in [3, (2, 3), 2])
    return MonDEQ.from_factors(A, B, U, u, C, c, m=1.0)
