"""Explorer of Lipschitz constants: everywhere, and on the ball around one image."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from tightrope import figures
from tightrope.explorers.certification import mondeq
from tightrope.explorers.controls import Clip, ImageNumber, MonDEQName, Radius, norm_choice, norm_name, page, still_open
from tightrope.explorers.explorer import Memo, View, explores
from tightrope.outward import at_least, at_most, outward
from tightrope.question import Limits, Stop
from tightrope.regions import pixel_ball
from tightrope.verifiers.lipschitz import product_bound, upper_bound
from tightrope.verifiers.lipschitz_lower import sampled
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.workbench.cases import dataset
from tightrope.workbench.tables import Table

NORMS = (("2", "2"), ("infinity", "inf"))
SAMPLES = 200  # Jacobians in the ball
CLOSED, EVERYWHERE, SAMPLED = "closed form, everywhere", "proven everywhere", "Jacobians at points of the ball"
ON_BALL = {"1": "proven on the ball, order 1", "1+cuts": "proven on the ball, order 1+cuts"}
ROWS = (CLOSED, EVERYWHERE, *ON_BALL.values(), SAMPLED)


@dataclass(frozen=True)
class Constants:
    """What is known of ||F(x) - F(x')|| <= L ||x - x'|| on a ball so far, and what is still computed.

    Each bound is what it is, "upper" or "lower", and its value; `undecided` is how many of how many units may change
    their sign on the ball.
    """

    about: str
    bounds: tuple[tuple[str, str, float], ...] = ()
    undecided: tuple[int, int] | None = None
    open: str = ""

    def smallest(self) -> float:
        """The smallest proven constant."""
        return min(value for _, side, value in self.bounds if side == "upper")


def constants_view(answer: Constants) -> View:
    """Show the bounds on one axis, and as a table."""
    order = sorted(answer.bounds, key=lambda bound: ROWS.index(bound[0]))
    drawing = figures.bounds({answer.about: order}, title="bounds of the Lipschitz constant")
    rows = tuple((name, side, outward(side)(value)) for name, side, value in order)
    table = Table(("constant", "side", "value"), rows)
    least = max(value for _, side, value in answer.bounds if side == "lower")
    headline = f"on this ball the Lipschitz constant is between {at_least(least)} and {at_most(answer.smallest())}"
    switch = "{} of {} units may switch on the ball".format(*answer.undecided) if answer.undecided else ""
    lines = [answer.about, switch, still_open(answer)]
    # As many digits as do not depend on the solver's tolerance.
    text = f"{answer.about}: at most {at_most(answer.smallest(), 2)}, at least {at_least(least, 2)}"
    return View(drawing._repr_png_(), page(headline, lines, table), text)


@explores("Lipschitz constants", constants_view)
def constants(
    network: MonDEQName = "digits/mondeq-16",
    image: ImageNumber = 0,
    norm: Annotated[object, lambda value: norm_choice(value, NORMS)] = "inf",
    epsilon_pixel: Radius = 0.05,
    clip: Clip = False,
    *,
    seed: int = 0,
    parts: Memo,
    stop: Stop,
) -> Iterator[Constants]:
    """Explore proven Lipschitz constants of a monDEQ, global ones and those of one ball, and a lower bound.

    The closed form and Jacobians, at points that the seed draws, are there at once, then the proofs, the fastest first.
    The ball of the norm 2 or inf around a test image, counted from 0, has its radius for pixels in [0, 1]; `clip` cuts
    it to the pixel range.
    """
    found = mondeq(network)
    data = dataset(found.dataset)
    ball = pixel_ball(data.image(image), norm, epsilon_pixel, found.normalisation, clip)
    points = ball.sample(SAMPLES, np.random.default_rng(seed))
    at_once = (
        (CLOSED, "upper", product_bound(found.network, norm)),
        (SAMPLED, "lower", sampled(found.network, norm, points).value),
    )
    about = f"image {image}, {norm_name(norm)} {epsilon_pixel:g}" + (" in [0, 1]" if clip else "")
    answer = Constants(about, at_once, open="proofs")
    yield answer
    for order, name in ON_BALL.items():
        local = local_upper_bound(found.network, ball, order=order, limits=Limits(1e-4, stop=stop))
        bounds = (*answer.bounds, (name, "upper", local.value))
        answer = replace(answer, bounds=bounds, undecided=(local.undecided, found.network.width))
        yield answer
    everywhere = parts.of((network, norm), lambda: upper_bound(found.network, norm, limits=Limits(stop=stop)).value)
    yield replace(answer, bounds=(*answer.bounds, (EVERYWHERE, "upper", everywhere)), open="")
