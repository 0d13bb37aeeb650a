"""Explorer of problem sizes: what Table 1 of chen2021-mondeq counts, for any network and ball."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tightrope import figures
from tightrope.errors import RegionError
from tightrope.explorers.certification import mondeq
from tightrope.explorers.controls import Clip, ImageNumber, MonDEQName, NormName, norm_name, page
from tightrope.explorers.explorer import View, explores
from tightrope.question import Stop
from tightrope.results.chen2021_mondeq.problem_sizes import MODELS, printed_sizes, size_of_model
from tightrope.workbench.tables import Table


@dataclass(frozen=True)
class Sizes:
    """Counts so far: model -> row of :func:`size_of_model`, or the reason why it is not built for this ball."""

    about: str
    counts: Mapping[str, Mapping | str]
    complete: bool = False


def sizes_view(answer: Sizes) -> View:
    """Show the sizes as bars, and as a table beside the printed formulas."""
    bars, lines, refused = [], [], []
    for model, row in answer.counts.items():
        words, column = MODELS[model]
        if isinstance(row, str):
            refused.append(f"{words}: {row}")
            continue
        variables, psd = printed_sizes(*row["sizes"])[column]
        bars.append((words, psd, row["psd"], row["factored"], row["schur"]))
        lines.append((words, row["variables"], variables, row["psd"], psd, row["factored"], row["schur"]))
    columns = ("model", "variables", "by the formula", "PSD matrix", "PSD by the formula")
    columns += ("factored densely", "Schur complement")
    headline = answer.about if answer.complete else f"{answer.about} ..."
    largest = max((bar[3] for bar in bars), default=0)
    text = f"{answer.about}: the largest matrix that is factored densely has {largest} rows"
    drawing = figures.problem_sizes(bars)
    return View(drawing._repr_png_(), page(headline, refused, Table(columns, tuple(lines))), text)


@explores("problem sizes", sizes_view)
def sizes(
    network: MonDEQName = "digits/mondeq-16",
    image: ImageNumber = 0,
    norm: NormName = "inf",
    clip: Clip = False,
    epsilon_pixel: float = 0.1,
    *,
    stop: Stop,
) -> Iterator[Sizes]:
    """Explore how large the models of a monDEQ of the zoo are, and what a step of the interior point factors.

    The radius of the ball around a test image changes no size unless it is cut to the pixel range.
    """
    about = f"{norm_name(norm)} ball around image {image}" + (" in [0, 1]" if clip else "")
    ball = {"norm": norm if norm == "inf" else float(norm), "clip": clip, "epsilon_pixel": epsilon_pixel}
    case = {"network": network, "dataset": mondeq(network).dataset, "image": image, **ball}
    found: dict[str, Mapping | str] = {}
    for number, model in enumerate(MODELS, 1):
        found[model] = _counted(*case.items(), ("method", model))
        yield Sizes(about, dict(found), number == len(MODELS))


@lru_cache(64)
def _counted(*case: tuple) -> Mapping | str:
    try:
        return size_of_model(dict(case))
    except RegionError as error:
        return str(error)
