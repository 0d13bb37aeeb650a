"""Explorer of Lipschitz constants of ReLU networks: method, order and radius, and of random ones band and width."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tightrope import figures
from tightrope.errors import InputError
from tightrope.explorers.controls import choice, number_slider, page, radius_slider
from tightrope.explorers.explorer import Explorer, View
from tightrope.networks import FeedForward
from tightrope.networks.random import random_network
from tightrope.outward import at_least, at_most, outward
from tightrope.question import Stop
from tightrope.regions import Ball
from tightrope.results.chen2020_lipschitz.common import network_of
from tightrope.verifiers.relu_lipschitz import LIMITS, METHODS, lipschitz_bound
from tightrope.workbench.tables import Table

DRAWN = ("sparsity", "width", "layers", "draw")  # what makes a random network
CONTROLS = ("method", "order", "epsilon", *DRAWN)
#: What can be asked, and which of the methods it is at each order (of HR: moments; of LipOpt: degree).
FAMILIES = {
    "product Shor": {1: "product-shor"},
    "SHOR": {1: "shor"},
    "HR": {1: "hr-1", 2: "hr-2"},
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


def relu_constants(
    method: str = "product Shor",
    order: int = 2,
    epsilon: float = 0.1,
    sparsity: int = 5,
    width: int = 8,
    layers: int = 1,
    draw: int = 0,
    *,
    network: str | None = None,
    output: int = 0,
    controls: Iterable[str] = CONTROLS,
    time_limit: float = 20.0,
    background: bool = True,
) -> Explorer:
    """Explore bounds of the Lipschitz constant of an output on the L-infinity ball around 0.

    Parameters
    ----------
    method, order
        One of :data:`FAMILIES`, and the order of HR or the degree of LipOpt; other methods have one order only.
    epsilon
        Radius; 10 stands for everywhere in the paper.
    sparsity, width, layers, draw
        Of :func:`tightrope.networks.random.random_network`: (width, ..., width), one output.
    network, output
        A network of the zoo in place of a random one, and which of its outputs.
    controls
        Which of these can be moved.
    time_limit
        Seconds for one bound.
    """
    fixed = dict(
        method=method,
        order=int(order),
        epsilon=float(epsilon),
        sparsity=int(sparsity),
        width=int(width),
        layers=int(layers),
        draw=int(draw),
        network=network,
        output=output,
    )
    wanted = set(controls) - set(DRAWN if network else ())
    makers = {
        "method": lambda v: choice(v, FAMILIES, "method"),
        "order": lambda v: choice(v, (1, 2, 3, 4), "order"),
        "epsilon": lambda v: radius_slider(v, "epsilon"),
        "sparsity": lambda v: number_slider(v, WIDEST, "sparsity s"),
        "width": lambda v: number_slider(v, WIDEST, "width"),
        "layers": lambda v: choice(v, (1, 2), "hidden layers"),
        "draw": lambda v: number_slider(v, 19, "draw"),
    }
    return Explorer.around(
        fixed,
        makers,
        wanted,
        "Lipschitz constants of ReLU networks",
        lambda state, stop: _stages(state, time_limit, stop),
        constants_view,
        background,
        {"order": lambda state: FAMILIES[state["method"]]},
    )


def _stages(state: Mapping, time_limit: float, stop: Stop) -> Iterator[Constants]:
    """The lower bounds at once, then the chosen method, then those that it is compared with."""
    orders = FAMILIES.get(state["method"])
    if orders is None:
        raise InputError(f"method: got {state['method']!r}; write {', '.join(FAMILIES)}.")
    if len(orders) > 1 and state["order"] not in orders:
        raise InputError(f"order: {state['method']} has the orders {', '.join(map(str, orders))}; move the control.")
    network, about = _network(state)
    region = Ball([0.0] * network.input_size, state["epsilon"], "inf")
    chosen = orders.get(state["order"], next(iter(orders.values())))
    answer = Constants(f"{about}, epsilon {state['epsilon']:g}", chosen)
    limits = replace(LIMITS, time=time_limit, stop=stop)
    others = [method for method in ALWAYS if method != chosen]
    for method in (*others[:2], chosen, *others[2:]):
        if stop():
            return
        found = lipschitz_bound(network, region, state["output"], method, samples=5_000, limits=limits)
        bound = (method, METHODS[method].side, found.value, found.verdict)
        answer = replace(answer, bounds=(*answer.bounds, bound), open="" if method == others[-1] else "other methods")
        if method not in others[:1]:
            yield answer


def _network(state: Mapping) -> tuple[FeedForward, str]:
    """The network that is asked for, and what it is called."""
    if state["network"]:
        return network_of(state["network"]), f"{state['network']}, output {state['output']}"
    width, band = state["width"], state["sparsity"]
    if width < 1 or band < 1:
        raise InputError("width, sparsity: both must be at least 1; move the control.")
    network = random_network((*[width] * (state["layers"] + 1), 1), band, state["draw"])
    return network, f"{'-'.join(map(str, network.sizes))}, s = {band}, draw {state['draw']}"


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
    lines = [answer.about, f"still open: {answer.open}" if answer.open else ""]
    return View(png, page(headline, lines, table), f"{answer.about}: {words}, at least {at_least(low, 3)}")
