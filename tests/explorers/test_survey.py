"""The survey of a network: counts add up, each label says who decided it."""

import numpy as np
import pytest

from tightrope import datasets, zoo
from tightrope.errors import InputError
from tightrope.explorers.survey import survey
from tightrope.question import Verdict
from tightrope.regions import pixel_ball


@pytest.fixture(scope="module")
def entry() -> zoo.Entry:
    """The network made elsewhere."""
    return zoo.own("data/models/elsewhere/digits-mlp.pt", "digits", "none")


def test_counts_add_up_and_verdicts_are_those_of_the_images(entry):
    """Accuracy over all test images; certified images withstand sampling, falsified ones have their point."""
    steps = []
    found = survey(entry, 8, "inf", 0.1, True, progress=lambda done, total: steps.append((done, total)))
    rows = dict(found.numbers.rows)
    assert sum(rows.get(f"of the first 8: {verdict.value}", 0) for verdict in Verdict) == 8 and steps[-1] == (8, 8)
    assert rows["accuracy on 360 test images"] == "96.4 %" and rows["of the first 8: labelled wrongly"] == 1
    data = datasets.load("digits")
    for index, report in enumerate(found.reports):
        region = pixel_ball(data.image(index), "inf", 0.1, entry.normalisation, True)
        if report.verdict is Verdict.CERTIFIED:
            seen = entry.network.predict(region.sample(500, np.random.default_rng(0)))
            assert (seen == data.label(index)).all()
        else:
            assert report.verdict is Verdict.FALSIFIED and region.contains(report.attack.point)
            assert entry.network.predict(report.attack.point) != data.label(index)
    assert {Verdict.CERTIFIED, Verdict.FALSIFIED} == {report.verdict for report in found.reports}


def test_table_of_one_image(entry):
    """A row per other label, with who decided it."""
    found = survey(entry, 1, 2, 0.1, False)
    table = found.labels(0)
    assert len(table.rows) == 9 and table.columns[-1] == "by"
    assert {row[-2] for row in table.rows} == {"certified"} and {row[-1] for row in table.rows} <= {
        "box", "crown", "deepz", "cascade, interior-point", "cascade, transfer"
    }  # fmt: skip
    with pytest.raises(InputError, match="image: expected 0 to 0, got 1"):
        found.labels(1)


def test_bad_input(entry):
    """Named before anything is solved."""
    with pytest.raises(InputError, match="images: expected an integer from 1 to 360, got 0"):
        survey(entry, 0, "inf", 0.1, True)
    with pytest.raises(InputError, match="does not say which images"):
        survey(zoo.Entry(entry.network, None, "file"), 1, "inf", 0.1, True)
