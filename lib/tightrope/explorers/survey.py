"""What is known of one network on the first images of its data set: accuracy, certified, attacked, open."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tightrope import zoo
from tightrope.errors import InputError
from tightrope.explorers.certification import entry as for_images
from tightrope.question import Limits, Verdict
from tightrope.regions import pixel_ball
from tightrope.verifiers.robustness import RobustnessReport, certify
from tightrope.workbench.cases import dataset, image_count
from tightrope.workbench.tables import Table


@dataclass(frozen=True, eq=False)
class Survey:
    """Reports of the first images, in order, and the share of all test images, so many, that are labelled rightly."""

    accuracy: float
    images: int
    reports: tuple[RobustnessReport, ...]

    @property
    def numbers(self) -> Table:
        """Accuracy, and how many of the first images are certified, falsified, unknown."""
        count = len(self.reports)
        verdicts = Counter(report.verdict for report in self.reports)
        shown = [verdict for verdict in Verdict if verdict in verdicts or verdict is not Verdict.COMPUTED]
        wrong = sum(report.predicted != report.label for report in self.reports)
        rows = [
            (f"accuracy on {self.images} test images", f"{100 * self.accuracy:.1f} %"),
            (f"of the first {count}: labelled wrongly", wrong),
            *((f"of the first {count}: {verdict.value}", verdicts[verdict]) for verdict in shown),
        ]
        return Table(("quantity", "value"), tuple(rows))

    def labels(self, image: int) -> Table:
        """What is known of each other label of one image: nominal margin, attack, bound, who decided."""
        if not 0 <= image < len(self.reports):
            raise InputError(f"image: expected 0 to {len(self.reports) - 1}, got {image}; survey more images.")
        return Table(*self.reports[image].table())


def survey(
    entry: zoo.Entry,
    images: int,
    norm: object,
    epsilon_pixel: float,
    clip: bool,
    *,
    method: str = "cascade",
    seed: int = 0,
    time_limit: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Decide so many test images from the first on, one ball (:func:`tightrope.regions.pixel_ball`) each.

    The entry is from :func:`tightrope.zoo.get` or :func:`tightrope.zoo.own`; method, seed and time limit, in seconds of
    one solve, are those of :func:`tightrope.verifiers.robustness.certify`. `progress` is called with the number of
    images done and their total.
    """
    data = dataset(for_images(entry).dataset)
    image_count(images, data)
    predicted = entry.network.predict(entry.normalisation.to_input(data.images))
    reports, limits = [], Limits(time=time_limit, seed=seed)
    for index in range(images):
        region = pixel_ball(data.image(index), norm, epsilon_pixel, entry.normalisation, clip)
        reports.append(certify(entry.network, region, data.label(index), method=method, limits=limits))
        if progress is not None:
            progress(index + 1, images)
    return Survey(float(np.mean(predicted == data.labels)), len(data), tuple(reports))
