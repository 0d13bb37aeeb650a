"""Explorer of Lipschitz constants of ReLU networks: method, order and radius, and of random ones band and width."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from tightrope import figures
from tightrope.errors import InputError
from tightrope.explorers.controls import choice, number_slider, page, radius_slider, still_open
from tightrope.explorers.explorer import View, explores
from tightrope.networks.random import random_network
from tightrope.outward import at_least, at_most, outward
from tightrope.question import Stop
from tightrope.regions import Ball
from tightrope.results.chen2020_lipschitz.common import network_of
from tightrope.verifiers.relu_lipschitz import CERTIFIED, LIMITS, METHODS, TIME, lipschitz_bound
from tightrope.workbench.tables import Table

DRAWN = ("sparsity", "width", "layers", "draw")  # what makes a random network
#: What can be asked, and which of the methods it is at each order (of HR: moments; of LipOpt: degree).
FAMILIES = {
    "product Shor": {1: "product-shor"},
    "SHOR": {1: "shor"},
    "HR": {1: "hr-1", 2: "hr-2", 3: "hr-3"},
    "LipOpt": {3: "lipopt-3", 4: "lipopt-4"},
    "sparse Lasserre": {2: "sparse-lasserre"},
}
#: Shown beside every answer, cheapest first.
ALWAYS = ("lbs", "ascent", "intervals", "qcqp", "shor", "product-shor")
WIDEST = 24


@dataclass(frozen=True)
class Constants:
    """What is known so far: (method, side, value or None, verdict), the chosen method, what is still computed."""

    about: str
    chosen: str
    bounds: tuple[tuple[str, str, float | None, str], ...] = ()
    open: str = ""

    @property
    def progress(self) -> str:
        """How many methods have answered, in words."""
        return f"{len(self.bounds)} of {len({*ALWAYS, self.chosen})} methods"

    def value(self, side: str) -> float | None:
        """The best proven bound of one side."""
        known = [value for _, s, value, _ in self.bounds if s == side and value is not None]
        return (min(known) if side == "upper" else max(known)) if known else None


def constants_view(answer: Constants) -> View:
    """Show the bounds on one axis, and as a table; the chosen method is marked."""
    order = list(METHODS)
    known = sorted(answer.bounds, key=lambda bound: order.index(bound[0]))
    name = {method: f"{METHODS[method].title}{' *' if method == answer.chosen else ''}" for method, *_ in known}
    drawn = [(name[m], side, value) for m, side, value, _ in known if value]
    png = figures.bounds({answer.about: drawn}, title="bounds of the Lipschitz constant")._repr_png_() if drawn else b""
    table = Table(
        ("method (* chosen)", "side", "value", "verdict"),
        tuple((name[m], side, "" if v is None else outward(side)(v, 5), verdict) for m, side, v, verdict in known),
    )
    low, high = answer.value("lower"), answer.value("upper")
    headline = f"the Lipschitz constant is at least {at_least(low)}"
    headline += "" if high is None else f" and at most {at_most(high)}"
    mine = next(((v, verdict) for m, _, v, verdict in known if m == answer.chosen), (None, "open"))
    method = METHODS[answer.chosen]
    words = f"{method.title} {mine[1] if mine[0] is None else outward(method.side)(mine[0], 3)}"
    lines = [answer.about, still_open(answer)]
    return View(png, page(headline, lines, table), f"{answer.about}: {words}, at least {at_least(low, 3)}")


@explores(
    "Lipschitz constants of ReLU networks",
    constants_view,
    follow={"order": lambda state: FAMILIES[state["method"]]},
    unused=lambda values: DRAWN if values["network"] else (),
)
def relu_constants(
    method: Annotated[str, lambda value: choice(value, FAMILIES, "method")] = "product Shor",
    order: Annotated[int, lambda value: choice(value, (1, 2, 3, 4), "order")] = 2,
    epsilon: Annotated[float, lambda value: radius_slider(value, "epsilon")] = 0.1,
    sparsity: Annotated[int, lambda value: number_slider(value, WIDEST, "sparsity s")] = 5,
    width: Annotated[int, lambda value: number_slider(value, WIDEST, "width")] = 8,
    layers: Annotated[int, lambda value: choice(value, (1, 2), "hidden layers")] = 1,
    draw: Annotated[int, lambda value: number_slider(value, 19, "draw")] = 0,
    *,
    network: str | None = None,
    output: int = 0,
    time_limit: float = 20.0,
    stop: Stop,
) -> Iterator[Constants]:
    """Explore bounds of the Lipschitz constant of an output on the L-infinity ball around 0.

    The lower bounds are there at once, then the chosen method, then those that it is compared with; each has
    `time_limit` seconds. The radius 10 stands for everywhere in the paper.

    Parameters
    ----------
    method, order
        One of :data:`FAMILIES`, and the order of HR or the degree of LipOpt; other methods have one order only.
    sparsity, width, layers, draw
        Of :func:`tightrope.networks.random.random_network`: (width, ..., width), one output.
    network, output
        A network of the zoo in place of a random one, and which of its outputs.
    """
    orders = FAMILIES.get(method)
    if orders is None:
        raise InputError(f"method: got {method!r}; write {', '.join(FAMILIES)}.")
    if len(orders) > 1 and order not in orders:
        raise InputError(f"order: {method} has the orders {', '.join(map(str, orders))}; move the control.")
    if network:
        asked, about = network_of(network), f"{network}, output {output}"
    elif width < 1 or sparsity < 1:
        raise InputError("width, sparsity: both must be at least 1; move the control.")
    else:
        asked = random_network((*[width] * (layers + 1), 1), sparsity, draw)
        about = f"{'-'.join(map(str, asked.sizes))}, s = {sparsity}, draw {draw}"
    region = Ball([0.0] * asked.input_size, epsilon, "inf")
    chosen = orders.get(order, next(iter(orders.values())))
    answer = Constants(f"{about}, epsilon {epsilon:g}", chosen)
    limits = replace(LIMITS, time=time_limit, stop=stop)
    others = [name for name in ALWAYS if name != chosen]
    for name in (*others[:2], chosen, *others[2:]):
        if stop():
            return
        found = lipschitz_bound(asked, region, output, name, samples=5_000, limits=limits)
        said = found.verdict if found.verdict in (CERTIFIED, TIME) else f"{found.verdict}: {found.reason}"
        bound = (name, METHODS[name].side, found.value, said)
        answer = replace(answer, bounds=(*answer.bounds, bound), open="" if name == others[-1] else "other methods")
        if name not in others[:1]:
            yield answer
