"""Table 7: every network certified by every relaxation.

A row is one network, one relaxation and a group of images. Images that the network labels wrongly are not robust; nor
are those with an adversarial point, found by a short search, which no sound relaxation certifies: both are left out.
"""

import time
from functools import lru_cache
from itertools import product

import numpy as np

from tightrope import attacks, figures, zoo
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import box_case, groups
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Names, Rows, Table, Value, Values
from .common import CERTIFIERS, OWN, PAPER, TITLES, label, parts, questions, share

table_7 = Experiment(PAPER, "table-7-cross-certification")
#: Of the short search: steps, and their length relative to the radius.
SEARCH_STEPS, SEARCH_LENGTH = 10, 0.2


@table_7.cases
def cases(networks: Names, images: int, epsilon_pixel: float, group: int) -> Cases:
    """Yield one case for each network, group of the first test images and relaxation."""
    for network in networks:
        for part, method in product(groups(network, images, group), CERTIFIERS):
            yield box_case(network, epsilon_pixel, method, {"elision": True}, **part)


@table_7.solve
def certify_group(case: Case) -> dict:
    """Certify one group of images.

    Counted are `correct`, `searched` (rightly labelled, and left by the short search) and `certified` images; the last
    two are also bit masks over the group. `allowance` is the largest rounding allowance, `closest` the margin's bound
    that came closest to 0: a verdict is far from rounding where it is far above the allowance.
    """
    start = time.perf_counter()
    found, _, lower, upper, labels = questions(case)
    correct, left = standing(*(case[name] for name in ("network", "dataset", "epsilon_pixel", "first", "count")))
    boxes, elision = InputSet.boxes(lower, upper), case["options"]["elision"]
    known, asked = np.zeros_like(left), left
    with one_torch_thread():
        if case["method"] == "hbox":  # at least as tight as Box, neuron by neuron (the paper's Theorem 2)
            known = certify(found.network, boxes, labels, "box", elision=elision, consider=left).certified
            asked = left & ~known
        outcome = certify(found.network, boxes, labels, case["method"], elision=elision, consider=asked)
    certified, worst = outcome.certified | known, outcome.worst[asked]
    return {
        "correct": int(correct.sum()),
        "searched": int(left.sum()),
        "certified": int(certified.sum()),
        "searched_mask": np.packbits(left).tobytes().hex(),  # the first image in the highest bit
        "certified_mask": np.packbits(certified).tobytes().hex(),
        "allowance": float(f"{outcome.allowance:.3g}"),
        "closest": float(f"{np.abs(worst).min(initial=np.inf):.3g}") if len(worst) else None,
        "seconds": round(time.perf_counter() - start, 3),
    }


@lru_cache(maxsize=4)
def standing(network: str, data: str, epsilon_pixel: float, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which images (N,) are labelled rightly, and which of them the short search leaves standing."""
    case = dict(network=network, dataset=data, epsilon_pixel=epsilon_pixel, first=first, count=count)
    found, x, lower, upper, labels = questions(case)
    correct = found.network.predict(x) == labels
    return correct, correct & ~short_search(found, x, lower, upper, labels, epsilon_pixel)


def short_search(
    found: zoo.Entry, x: np.ndarray, lower: np.ndarray, upper: np.ndarray, labels: np.ndarray, epsilon_pixel: float
) -> np.ndarray:
    """Return for which images (N,) a short search finds an adversarial point in the box."""
    step = SEARCH_LENGTH * found.normalisation.steps_to_input(epsilon_pixel, x.shape[1])
    with one_torch_thread():
        return attacks.batched_pgd(found.network, x, lower, upper, labels, step=step, steps=SEARCH_STEPS, seed=0)


@table_7.table
def certified(rows: Rows) -> Table:
    """Return the certified images in percent: a line for each network, a column for each relaxation."""
    methods, lines = rows.different("method"), []
    for (network,), own in rows.by("network"):
        columns = [own.where(method=method) for method in methods]
        lines.append((label(network), share(columns[0], "correct"), *(share(part, "certified") for part in columns)))
    return Table(("network, trained with (%)", "accuracy", *(TITLES[method] for method in methods)), lines)


@table_7.lines("network, trained with | certified with | by it % | best certificate | by the best %")
def findings(rows: Rows) -> Lines:
    """Return the relaxation that certifies most images of each network, beside the one that it was trained with."""
    for (network,), some in rows.by("network"):
        by_method = {method: part for (method,), part in some.by("method")}
        shares = {method: share(part, "certified") for method, part in by_method.items()}
        own = OWN.get(parts(network)[1])
        best = max(by_method, key=lambda method: by_method[method].total("certified"))
        trained = (TITLES[own], shares.get(own)) if own else ("", None)
        yield label(network), *trained, TITLES[best], shares[best]


@table_7.drawing(certified)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the percentages as a matrix."""
    networks, methods = rows.different("network"), rows.different("method")
    groups_of = [[rows.where(network=n, method=m) for m in methods] for n in networks]
    values = [[100 * own.total("certified") / own.total("count") for own in line] for line in groups_of]
    labels = "certified with (percent of the images; framed: as trained)", "trained with"
    own = [(row, methods.index(m)) for row, n in enumerate(networks) if (m := OWN.get(parts(n)[1])) in methods]
    title = "certified images in percent: network (rows) by relaxation (columns)"
    lines = [label(network) for network in networks]
    best = sum(values[row][column] == max(values[row]) for row, column in own)
    drawing = figures.matrix(values, lines, [TITLES[m] for m in methods], title, labels, own)
    return drawing.saying(f"{best} of {len(own)} networks are certified best by the relaxation of their training")


@table_7.cells
def cells(rows: Rows, images: int) -> Values:
    """Yield `table-7/<network>-<epsilon>/<training>/<certifier>` of the networks whose images are all there."""
    for (network, method, epsilon), own in rows.by("network", "method", "epsilon_pixel"):
        if own.total("count") == images:
            kind, training = parts(network)
            cell = f"table-7/{kind}-{epsilon:g}/{training}/{method.replace('_', '-')}"
            yield cell, Value(share(own, "certified"), f"{own.total('certified')} of {images} images")
