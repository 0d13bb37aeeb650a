"""What certificate files are made of, and the commands that write and check them."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import mondeq
from tightrope import checker, datasets, proofs, zoo
from tightrope.cli import main
from tightrope.errors import CertificateError, InputError, RegionError
from tightrope.regions import Ball, pixel_ball


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimals_are_rounded_outward(value):
    """Up and down by at most a digit, and the sign stays."""
    above, below = Fraction(proofs.decimal_above(value)), Fraction(proofs.decimal_below(value))
    assert below <= Fraction(value) <= above
    assert above - below <= abs(Fraction(value)) / 10 ** (proofs.DIGITS - 1)
    assert (above < 0) == (value < 0) and (below > 0) == (value > 0)


@pytest.mark.parametrize(("dataset", "scale"), [("digits", "16")])
def test_balls_of_images_are_stated_by_pixels(dataset, scale):
    data = datasets.load(dataset)
    region = pixel_ball(data.image(0), "inf", 0.05, data.normalisation, clip=True)
    header, arrays = region.stated()
    assert header["scale"] == scale and header["radius"] == "0.05" and header["clip"] is True
    assert (arrays["pixels"] / int(scale) == data.image(0)).all()
    changed = replace(region, radius=2 * region.radius)  # no longer what the image and the radius say
    assert "centre" in changed.stated()[1]
    between = pixel_ball(data.image(0) * 0.999, "inf", 0.05, data.normalisation, clip=True)
    assert "centre" in between.stated()[1]


def test_regions_without_a_statement_are_refused_by_name():
    with pytest.raises(RegionError, match="L3"):
        Ball(np.zeros(2), 1.0, 3).stated()


def test_networks_are_found_by_their_digest():
    network = zoo.get("digits/mondeq-16").network
    assert proofs.find_network(proofs.digest(network)).sha256() == network.sha256()
    with pytest.raises(InputError, match="no network"):
        proofs.find_network(proofs.digest(mondeq(0)))


def test_nothing_proven_is_not_written(tmp_path):
    proof = proofs.Proof(None, (checker.Finding("a claim", False, reason="a reason"),))
    with pytest.raises(CertificateError, match="a reason"):
        proof.save(tmp_path / "a.cert")
    assert not list(tmp_path.iterdir())


def test_certify_writes_what_verify_proves(tmp_path):
    """Exit code 0; 1 for another network; 2 for a file that is none."""
    file, noise = tmp_path / "a.cert", tmp_path / "b.cert"
    certify = ["certify", "--network", "digits/mondeq-16", "--image", "digits:3", "--epsilon-pixel", "0.01"]
    run = CliRunner().invoke(main, [*certify, "--certificate", str(file)])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(main, ["verify", str(file)])
    assert run.exit_code == 0 and run.output.count("PROVEN (exact)") == 9
    run = CliRunner().invoke(main, ["verify", str(file), "--network", "digits/mondeq-32"])
    assert run.exit_code == 1 and "REFUSED" in run.output
    noise.write_bytes(b"noise")
    run = CliRunner().invoke(main, ["verify", str(noise), str(file)])
    assert run.exit_code == 2 and run.output.count("PROVEN (exact)") == 9
    run = CliRunner().invoke(main, ["verify", str(tmp_path / "missing.cert")])
    assert run.exit_code == 2 and "missing.cert" in run.output
