"""Explorer of Lipschitz constants: everywhere, and on the ball around one image."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tightrope import figures
from tightrope.explorers.certification import images, mondeq
from tightrope.explorers.controls import (
    clip_check,
    mondeq_choice,
    norm_choice,
    number_slider,
    page,
    radius_slider,
)
from tightrope.explorers.explorer import Explorer, Memo, View
from tightrope.outward import at_least, at_most, outward
from tightrope.question import Limits, Stop
from tightrope.regions import pixel_ball
from tightrope.verifiers.lipschitz import product_bound, upper_bound
from tightrope.verifiers.lipschitz_lower import sampled
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.workbench.tables import Table

CONTROLS = ("network", "image", "norm", "epsilon_pixel", "clip")
NORMS = (("2", "2"), ("infinity", "inf"))
SAMPLES = 200  # Jacobians in the ball
CLOSED, EVERYWHERE, SAMPLED = "closed form, everywhere", "proven everywhere", "Jacobians at points of the ball"
ON_BALL = {"1": "proven on the ball, order 1", "1+cuts": "proven on the ball, order 1+cuts"}
ROWS = (CLOSED, EVERYWHERE, *ON_BALL.values(), SAMPLED)


@dataclass(frozen=True)
class Constants:
    """What is known of ||F(x) - F(x')|| <= L ||x - x'|| so far.

    Attributes
    ----------
    about : str
        The ball, in words.
    bounds : tuple of (str, str, float)
        What it is, "upper" or "lower", and its value; every one holds on the ball.
    undecided : (int, int) or None
        How many of the units may change their sign on the ball.
    open : str
        What is still being computed.
    """

    about: str
    bounds: tuple[tuple[str, str, float], ...] = ()
    undecided: tuple[int, int] | None = None
    open: str = ""

    def smallest(self) -> float:
        """The smallest proven constant."""
        return min(value for _, side, value in self.bounds if side == "upper")


def constants(
    network: str = "digits/mondeq-16",
    image: int = 0,
    norm: object = "inf",
    epsilon_pixel: float = 0.05,
    clip: bool = False,
    *,
    controls: Iterable[str] = CONTROLS,
    seed: int = 0,
    background: bool = True,
) -> Explorer:
    """Explore proven Lipschitz constants of a monDEQ, global ones and those of one ball, and a lower bound.

    Parameters
    ----------
    network
        A name of the zoo.
    image
        Test image, counted from 0: the centre of the ball.
    norm, epsilon_pixel, clip
        The ball: 2 or inf; radius for pixels in [0, 1]; whether it is cut to the pixel range.
    controls
        Which of these can be moved.
    seed
        Of the points at which Jacobians are computed.
    """
    fixed = dict(network=network, image=int(image), norm=str(norm), epsilon_pixel=float(epsilon_pixel), clip=bool(clip))
    makers = {
        "network": mondeq_choice,
        "image": lambda v: number_slider(v, 99, "image"),
        "norm": lambda v: norm_choice(v, NORMS),
        "epsilon_pixel": radius_slider,
        "clip": clip_check,
    }
    memo = Memo(64)
    return Explorer.around(
        fixed,
        makers,
        controls,
        "Lipschitz constants",
        lambda state, stop: _stages(state, memo, seed, stop),
        constants_view,
        background,
    )


def _stages(state: Mapping, memo: Memo, seed: int, stop: Stop) -> Iterator[Constants]:
    """The closed form and Jacobians at once, then the proofs, the fastest first."""
    found = mondeq(state["network"])
    network, data, norm = found.network, images(found.dataset), state["norm"]
    pixels = data.image(state["image"])
    ball = pixel_ball(pixels, norm, state["epsilon_pixel"], found.normalisation, state["clip"])
    points = ball.sample(SAMPLES, np.random.default_rng(seed))
    words = f"image {state['image']}, L{'-infinity' if norm == 'inf' else norm} {state['epsilon_pixel']:g}"
    answer = Constants(
        words + (" in [0, 1]" if state["clip"] else ""),
        (
            (CLOSED, "upper", product_bound(network, norm)),
            (SAMPLED, "lower", sampled(network, norm, points).value),
        ),
        open="proofs",
    )
    yield answer
    for order, name in ON_BALL.items():
        local = local_upper_bound(network, ball, order=order, limits=Limits(1e-4, stop=stop))
        answer = replace(
            answer,
            bounds=(*answer.bounds, (name, "upper", local.value)),
            undecided=(local.undecided, network.width),
        )
        yield answer
    everywhere = memo.of((state["network"], norm), lambda: upper_bound(network, norm, limits=Limits(stop=stop)).value)
    yield replace(answer, bounds=(*answer.bounds, (EVERYWHERE, "upper", everywhere)), open="")


def constants_view(answer: Constants) -> View:
    """Show the bounds on one axis, and as a table."""
    order = sorted(answer.bounds, key=lambda bound: ROWS.index(bound[0]))
    drawing = figures.bounds({answer.about: order}, title="bounds of the Lipschitz constant")
    rows = tuple((name, side, outward(side)(value)) for name, side, value in order)
    table = Table(("constant", "side", "value"), rows)
    least = max(value for _, side, value in answer.bounds if side == "lower")
    headline = f"on this ball the Lipschitz constant is between {at_least(least)} and {at_most(answer.smallest())}"
    lines = [answer.about]
    if answer.undecided is not None:
        lines.append("{} of {} units may switch on the ball".format(*answer.undecided))
    if answer.open:
        lines.append(f"still open: {answer.open}")
    # As many digits as do not depend on the solver's tolerance.
    text = f"{answer.about}: at most {at_most(answer.smallest(), 2)}, at least {at_least(least, 2)}"
    return View(drawing._repr_png_(), page(headline, lines, table), text)
