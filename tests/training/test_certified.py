"""Certified training: schedules and architectures as printed, determinism, resuming, named failures, gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tightrope import datasets
from tightrope.errors import CorruptDataError, InputError, TrainingError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import DenseOperator, operators
from tightrope.training import Architecture, Configuration, Schedule, accuracy, certified, train
from tightrope.training.certified import augmented, boxes
from tightrope.training.losses import CERTIFIER, METHODS, training_loss
from tightrope.training.printed import CONFIGURATIONS
from tightrope.training.printed import METHODS as METHODS_BY_NAME
from tightrope.training.printed import configuration as configuration_of
from tightrope.training.programs import program_margins
from tightrope.verifiers.triangle import layerwise_bounds

SMALL = "FC 12, FC 10"


@pytest.fixture(scope="module")
def few() -> datasets.Dataset:
    """The first 200 training digits."""
    data = datasets.load("digits", "train")
    return datasets.Dataset("few", data.images[:200], data.labels[:200], data.shape, data.normalisation)


def configuration(method: str = "box", **changes) -> Configuration:
    schedule = Schedule(epochs=4, warm_up=1, ramp_up=2, epsilon=0.05, kappa_end=0.5, learning_rate=5e-3)
    base = Configuration(SMALL, method, schedule, batch_size=50, l1=1e-5, l2=1e-5, attack_steps=3, seed=3)
    return replace(base, **changes)


# ----------------------------------------------------------------------------------------- what the paper prints


def test_architectures_have_the_printed_sizes():
    assert Architecture.parse("FC", (1, 28, 28)).sizes == (784, 400, 200, 100, 100, 10)
    assert Architecture.parse("CONV", (1, 28, 28)).sizes == (784, 3136, 100, 10)
    assert Architecture.parse("CONV+", (3, 32, 32)).shapes[1:3] == [(16, 15, 15), (32, 12, 12)]
    assert Architecture.parse("CONV 2 3x3+1 p2, FC 3", (1, 4, 4)).shapes[1] == (2, 6, 6)
    for text, shape in (("FC", (1, 28, 28)), ("CONV", (1, 28, 28)), ("CONV+", (3, 32, 32))):
        found = Architecture.parse(text, shape)
        assert sum(found.parameters) == sum(t.numel() for t in found.initial(torch.Generator()))
    assert Architecture.parse("FC 7, FC 3", (1, 2, 2)).sizes == (4, 7, 3)


@pytest.mark.parametrize(
    "text", ["FC", "FC 0", "CONV 3 2x2+1", "FC 5, CONV 3 2x2+1, FC 2", "FC 4; FC 2", "CONV 1 9x9+1, FC 2"]
)
def test_an_architecture_that_does_not_parse_is_named(text):
    if text == "FC":  # a name; the same letters without a number are no layer
        text = "FC, FC 2"
    with pytest.raises(InputError, match="architecture"):
        Architecture.parse(text, (1, 4, 4))


def test_schedules():
    """Warm-up, linear ramp, and the learning rates of the two printed schedules."""
    schedule = Schedule(epochs=200, warm_up=10, ramp_up=100, epsilon=0.3, kappa_end=0.5)
    assert [schedule.epsilon_at(e) for e in (0, 9.9, 10, 60, 110, 199)] == pytest.approx([0, 0, 0, 0.15, 0.3, 0.3])
    assert [schedule.kappa_at(e) for e in (0, 10, 60, 110, 199)] == pytest.approx([1, 1, 0.75, 0.5, 0.5])
    assert [schedule.beta_at(e) for e in (0, 60, 110)] == pytest.approx([1, 0.5, 0])
    rates = [schedule.learning_rate_at(e) for e in (0, 129, 130, 189, 190, 199)]
    assert rates == pytest.approx([5e-4, 5e-4, 5e-5, 5e-5, 5e-6, 5e-6])
    steps = replace(schedule, learning_rate=1e-3, learning_rates="steps")
    assert [steps.learning_rate_at(e) for e in (0, 19, 20, 45)] == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])
    late = replace(schedule, learning_rates="late steps")  # from the end of the ramp-up on, epoch 110
    assert [late.learning_rate_at(e) for e in (0, 129, 130, 150)] == pytest.approx([5e-4, 5e-4, 2.5e-4, 1.25e-4])
    assert replace(schedule, learning_rates="constant").learning_rate_at(199) == 5e-4
    assert Schedule(epochs=3, epsilon=0.1).epsilon_at(0) == 0.1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epsilon": -0.1}, "epsilon: expected a radius >= 0 in pixel units, got -0.1"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"warm_up": 3, "ramp_up": 3}, "fit in epochs=4"),
        ({"kappa_end": 1.5}, "kappa_end"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rates": "cosine"}, "milestones"),
    ],
)
def test_a_schedule_that_cannot_be_is_named(changes, match):
    with pytest.raises(InputError, match=match):
        Schedule(**{"epochs": 4, **changes})


def test_a_configuration_that_cannot_be_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'crown'"):
        configuration("crwn")
    with pytest.raises(InputError, match="batch_size=0"):
        configuration(batch_size=0)


# --------------------------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("method", ["natural", "pgd", "crown_ibp_hybrid", "deepz"])
def test_training_is_determined_by_its_configuration(few, method):
    one = train(configuration(method), few).network.sha256()
    torch.manual_seed(5)
    assert train(configuration(method), few).network.sha256() == one
    assert train(configuration(method, seed=4), few).network.sha256() != one


@pytest.mark.parametrize("method", ["pgd", "crown"])
def test_an_interrupted_training_gives_the_same_weights(few, method, tmp_path):
    """Stopped after each of its epochs, and resumed from the file."""
    whole = train(configuration(method), few)
    file = tmp_path / "run.pt"
    for epochs in (1, 2, 4):
        part = train(configuration(method), few, checkpoint=file, until=epochs)
        assert len(part.losses) == epochs
    assert part.network.sha256() == whole.network.sha256()
    assert part.losses == whole.losses
    with pytest.raises(CorruptDataError, match="another configuration"):
        train(configuration(method, seed=9), few, checkpoint=file)


@pytest.mark.parametrize("batches", [1, 5, 11])
def test_a_training_that_is_killed_within_an_epoch_gives_the_same_weights(few, batches, tmp_path, monkeypatch):
    """Four batches an epoch: the file has the last whole epoch, from which the killed one is done again."""
    whole = train(configuration("crown_ibp_hybrid"), few)
    file, calls = tmp_path / "run.pt", iter(range(batches))

    def killed(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return training_loss(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(certified, "training_loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train(configuration("crown_ibp_hybrid"), few, checkpoint=file)
    assert file.is_file() == (batches > 4)
    again = train(configuration("crown_ibp_hybrid"), few, checkpoint=file)
    assert again.network.sha256() == whole.network.sha256() and again.losses == whole.losses


def test_a_training_with_programs_that_is_interrupted_gives_the_same_weights(few, tmp_path):
    schedule = Schedule(epochs=3, warm_up=1, epsilon=0.02, learning_rate=2e-2, learning_rates="constant")
    chosen = configuration("triangle", architecture="FC 6, FC 5, FC 10", schedule=schedule, batch_size=100)
    train(chosen, few, checkpoint=tmp_path / "run.pt", until=2)
    resumed = train(chosen, few, checkpoint=tmp_path / "run.pt")
    assert resumed.network.sha256() == train(chosen, few).network.sha256()


def test_the_hash_of_a_configuration_is_of_all_values():
    one = configuration("crown")
    assert one.sha256() != replace(one, elision=False).sha256()


# -------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("triangle", "parallelogram")])
def test_every_method_learns(few, method):
    losses = []
    found = train(configuration(method), few, progress=lambda epoch, loss: losses.append(loss))
    assert tuple(losses) == found.losses and np.isfinite(losses).all()
    assert accuracy(found.network, few) > 0.5


def test_certified_training_certifies_more_than_natural_training(few):
    schedule = Schedule(epochs=30, ramp_up=10, epsilon=0.08, learning_rate=5e-3)
    share = {}
    for method in ("natural", "box"):
        network = train(configuration(method, schedule=schedule), few).network
        region = boxes(torch.tensor(few.images), 0.08, few.normalisation)
        margins = bounds(network, region, "box", few.labels).margins
        margins[torch.arange(200), torch.tensor(few.labels)] = -1
        share[method] = (margins < 0).all(1).double().mean()
    assert share["box"] > share["natural"] + 0.3


def test_the_loss_is_the_printed_mixture(few):
    """kappa CE(z) + (1 - kappa) CE(worst case), and beta mixes CROWN-IBP (R) with Box."""
    rng = np.random.default_rng(0)
    net = FeedForward.dense([rng.normal(size=(5, 64)), rng.normal(size=(10, 5))], [np.zeros(5), np.zeros(10)])
    layers = operators(net)
    pixels, y = torch.tensor(few.images[:4]), torch.tensor(few.labels[:4])
    x, region = torch.tensor(few.normalisation.to_input(few.images[:4])), boxes(pixels, 0.1, few.normalisation)
    natural = torch.nn.functional.cross_entropy(torch.tensor(net.logits(x.numpy())), y)
    tight, loose = (bounds(net, region, name, y).margins for name in ("crown_ibp", "box"))
    worst = torch.nn.functional.cross_entropy(0.3 * tight + 0.7 * loose, y)
    loss = training_loss(layers, x, region, y, "crown_ibp_hybrid", 0.25, 0.3)
    torch.testing.assert_close(loss, 0.25 * natural + 0.75 * worst)
    torch.testing.assert_close(training_loss(layers, x, region, y, "box", 1.0), natural)
    # The worst case of outputs that are independent: u_k for the others, l_y for the label.
    plain = bounds(net, region, "box")
    logits = plain.output_upper.clone()
    logits[torch.arange(4), y] = plain.output_lower[torch.arange(4), y]
    expected = torch.nn.functional.cross_entropy(logits, y)
    torch.testing.assert_close(training_loss(layers, x, region, y, "box", 0.0, elision=False), expected)


def test_a_loss_that_is_no_number_stops_with_step_and_configuration(few):
    schedule = Schedule(epochs=3, epsilon=0.1, learning_rate=1e30, learning_rates="constant")
    with pytest.raises(TrainingError, match=r"epoch 0, batch [123] of 4 .*Configuration\(architecture='FC 12, FC 10'"):
        train(configuration("crown", schedule=schedule), few)


def test_every_relaxation_has_a_certifier():
    assert set(CERTIFIER) == set(METHODS) - {"natural", "pgd"}
    assert CERTIFIER["crown_ibp_hybrid"] == "box"


# ------------------------------------------------------------------------------------------------ linear programs


def random_network(seed: int, sizes=(3, 5, 4, 3)) -> FeedForward:
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes, strict=False))
    return FeedForward.dense([rng.normal(size=pair) for pair in pairs], [rng.normal(size=m) for m, _ in pairs])


@pytest.mark.parametrize("kind", ["triangle", "parallelogram"])
def test_program_margins_are_those_of_the_verifier(kind):
    net = random_network(0, (5, 8, 7, 6, 3))
    center = torch.tensor(np.random.default_rng(1).normal(size=(4, 5)))
    region, labels = InputSet(center - 0.3, center + 0.3), torch.tensor([0, 1, 2, 0])
    found = program_margins(operators(net), region, labels, kind)
    for n, label in enumerate(labels):
        margins = layerwise_bounds(net, region.lower[n].numpy(), region.upper[n].numpy(), int(label), kind).margins
        np.testing.assert_allclose(found[n].numpy(), margins, atol=1e-8)


@pytest.mark.parametrize("kind", ["triangle", "parallelogram"])
def test_program_gradients_by_finite_differences(kind):
    net = random_network(2)
    center = torch.tensor(np.random.default_rng(3).normal(size=(2, 3)), requires_grad=True)
    tensors = [torch.tensor(a, requires_grad=True) for pair in zip(net.weights, net.biases, strict=True) for a in pair]

    def margins(center, *tensors):
        layers = [DenseOperator(tensors[i], tensors[i + 1]) for i in (0, 2, 4)]
        return program_margins(layers, InputSet(center - 0.3, center + 0.3), torch.tensor([0, 1]), kind)

    assert torch.autograd.gradcheck(margins, (center, *tensors), atol=1e-4)


@pytest.mark.parametrize("kind", ["triangle", "parallelogram"])
def test_training_with_programs_learns(few, kind):
    schedule = Schedule(epochs=7, warm_up=6, epsilon=0.02, learning_rate=2e-2, learning_rates="constant")
    chosen = configuration(kind, architecture="FC 8, FC 6, FC 10", schedule=schedule, batch_size=20)
    found = train(chosen, few)
    assert np.isfinite(found.losses).all()
    assert accuracy(found.network, few) > 0.4


def test_programs_refuse_convolutions():
    architecture = Architecture.parse("CONV 2 2x2+2, FC 3", (1, 4, 4))
    layers = architecture.operators(architecture.initial(torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="dense"):
        program_margins(layers, InputSet(torch.zeros(1, 16), torch.ones(1, 16)), torch.tensor([0]), "triangle")


# ------------------------------------------------------------------------------------- the printed configurations


def test_printed_configurations():
    """Table 6 has 36 lines; FashionMNIST reuses them, SVHN and CIFAR-10 have six and five networks."""
    assert {name: len(lines) for name, lines in CONFIGURATIONS.items()} == {
        "mnist": 36, "fashionmnist": 36, "svhn": 6, "cifar10": 5
    }  # fmt: skip
    for (network, epsilon, training), one in CONFIGURATIONS["mnist"].items():
        assert one.architecture == network and one.schedule.epsilon >= epsilon
        assert one.elision == (one.schedule.learning_rates == "milestones") and METHODS_BY_NAME[training] == one.method
    svhn = configuration_of("svhn", "CONV", 8 / 255, "deepz").schedule
    assert [svhn.epsilon_at(e) for e in (0, 25, 50)] == pytest.approx([0.001, (0.001 + 8 / 255) / 2, 8 / 255])
    assert [svhn.learning_rate_at(e) for e in (9, 10, 25)] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    cifar = configuration_of("cifar10", "CONV+", 8 / 255, "crown-ibp").schedule
    assert [cifar.learning_rate_at(e) for e in (2599, 2600, 3040)] == pytest.approx([5e-4, 5e-5, 5e-6])
    assert [cifar.kappa_at(e) for e in (0, 319, 320, 3199)] == [1, 1, 0, 0]
    with pytest.raises(UnknownNameError, match=r"CONV, 0\.3, deepz"):
        configuration_of("mnist", "CONV", 0.3, "depz")
    with pytest.raises(InputError, match="epsilon_start"):
        Schedule(epochs=3, epsilon=0.1, epsilon_start=0.2)
    with pytest.raises(InputError, match="halving=0"):
        Schedule(epochs=3, halving=0)


def test_augmented_images_are_the_same_images_moved():
    """Each row is an image shifted by at most 4 pixels, perhaps mirrored; nothing is added to the brightness."""
    image = torch.zeros(1, 10, 10)
    image[0, 4, 5] = 1.0
    rows = augmented(image.flatten().repeat(200, 1), (1, 10, 10), torch.Generator().manual_seed(0))
    places = {divmod(int(row.argmax()), 10) for row in rows}
    assert torch.equal(rows.sum(1), torch.ones(200)) and len(places) > 60
    assert all(0 <= y <= 8 and 0 <= x <= 9 for y, x in places)


def test_augmented_training_is_determined_and_resumes(few, tmp_path):
    one = configuration("box", augment=True)
    whole = train(one, few)
    train(one, few, checkpoint=tmp_path / "run.pt", until=2)
    assert train(one, few, checkpoint=tmp_path / "run.pt").network.sha256() == whole.network.sha256()
    assert whole.network.sha256() != train(configuration("box"), few).network.sha256()
