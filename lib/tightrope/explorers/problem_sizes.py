"""Explorer of problem sizes: what Table 1 of chen2021-mondeq counts, for any network and ball."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tightrope import figures
from tightrope.errors import RegionError
from tightrope.explorers.certification import mondeq
from tightrope.explorers.controls import clip_check, mondeq_choice, norm_choice, number_slider, page
from tightrope.explorers.explorer import Explorer, Memo, View
from tightrope.results.chen2021_mondeq.problem_sizes import MODELS, printed_sizes, size_of_model
from tightrope.workbench.tables import Table

CONTROLS = ("network", "norm", "clip", "image")


@dataclass(frozen=True)
class Sizes:
    """Counts so far: model -> row of :func:`size_of_model`, or the reason why it is not built for this ball."""

    about: str
    counts: Mapping[str, Mapping | str]
    complete: bool = False


def sizes(
    network: str = "digits/mondeq-16",
    image: int = 0,
    norm: object = "inf",
    clip: bool = False,
    epsilon_pixel: float = 0.1,
    *,
    controls: Iterable[str] = CONTROLS,
    background: bool = True,
) -> Explorer:
    """Explore how large the models of a monDEQ are, and what a step of the interior point factors.

    Parameters
    ----------
    network
        A name of the zoo.
    image, norm, clip, epsilon_pixel
        The ball; its radius changes no size unless it is cut to the pixel range.
    controls
        Which of these can be moved.
    """
    fixed = dict(network=network, image=int(image), norm=str(norm), clip=bool(clip), epsilon_pixel=float(epsilon_pixel))
    makers = {
        "network": mondeq_choice,
        "norm": norm_choice,
        "clip": clip_check,
        "image": lambda v: number_slider(v, 99, "image"),
    }
    memo = Memo(64)
    return Explorer.around(
        fixed, makers, controls, "problem sizes", lambda state, stop: _stages(state, memo), sizes_view, background
    )


def _stages(state: Mapping, memo: Memo) -> Iterator[Sizes]:
    """One model after the other."""
    norm = state["norm"] if state["norm"] == "inf" else float(state["norm"])
    about = f"L{'-infinity' if norm == 'inf' else state['norm']} ball around image {state['image']}"
    about += " in [0, 1]" if state["clip"] else ""
    found: dict[str, Mapping | str] = {}
    for number, model in enumerate(MODELS, 1):
        case = {**state, "dataset": mondeq(state["network"]).dataset, "norm": norm, "method": model}
        found[model] = memo.of(tuple(sorted(case.items(), key=str)), lambda case=case: _counted(case))
        yield Sizes(about, dict(found), number == len(MODELS))


def _counted(case: Mapping) -> Mapping | str:
    try:
        return size_of_model(case)
    except RegionError as error:
        return str(error)


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
    columns = (
        "model",
        "variables",
        "by the formula",
        "PSD matrix",
        "PSD by the formula",
        "factored densely",
        "Schur complement",
    )
    headline = answer.about if answer.complete else f"{answer.about} ..."
    largest = max((bar[3] for bar in bars), default=0)
    text = f"{answer.about}: the largest matrix that is factored densely has {largest} rows"
    drawing = figures.problem_sizes(bars)
    return View(drawing._repr_png_(), page(headline, refused, Table(columns, tuple(lines))), text)
