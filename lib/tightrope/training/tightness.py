"""The networks of the tightness experiments (Table 3): natural or adversarial training, no certificates.

`tightrope train-zoo mnist/fc-small-pgd-0.1` trains one with the epochs and the attack that fit two cores; `--printed`
trains with the printed ones, where these differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tightrope.training.architectures import Architecture
from tightrope.training.certified import Configuration
from tightrope.training.schedules import Schedule


@dataclass(frozen=True)
class TightnessNetwork:
    """One line of Table 3, by its letter from A to H.

    `printed` is as the paper trains it; the learning rate, its schedule and the batch size are not printed for these
    networks: they are the defaults of the authors' code (github.com/eth-sri/paradox, `args_factory.py`, `cert.py`):
    Adam with 0.0005, halved every 20 epochs after the ramp-up, which is 50 epochs where none is asked for; batches of
    100. `ours` is what the weights in data/models were trained with: of A, D and F all but the printed
    L2 regularisation, since without it the printed areas come out (erratum 12); of B, C, G and H fewer epochs, a
    shorter attack, and the milestones of the main experiments. `largest` is the largest radius
    of its CR curve, in pixel units.
    """

    experiment: str
    dataset: str
    printed: Configuration
    ours: Configuration
    largest: float

    @property
    def name(self) -> str:
        """In the zoo, such as `mnist/fc-small-pgd-0.1`."""
        method, radius = self.printed.method, self.printed.schedule.epsilon
        training = method if method == "natural" else f"{method}-{radius:g}"
        return f"{self.dataset}/{self.printed.architecture.lower().replace('+', '-plus')}-{training}"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of inputs, of neurons of each hidden layer, and of outputs."""
        shape = (3, 32, 32) if self.dataset == "cifar10" else (1, 28, 28)
        return Architecture.parse(self.printed.architecture, shape).sizes


def _natural(architecture: str, l2: float = 5e-5) -> Configuration:
    """The ramp-up, the code's default, is of no radius: it is when the learning rate begins to fall."""
    return Configuration(architecture, "natural", Schedule(200, ramp_up=50, learning_rates="late steps"), l2=l2)


def _pgd(architecture: str, epsilon: float) -> Configuration:
    """PGD of 100 steps of 0.01; for radius 0.3, 10 epochs of natural training and 50 of a growing radius first."""
    warm, ramp = (10, 50) if epsilon == 0.3 else (0, 0)
    schedule = Schedule(200, warm, ramp, epsilon, learning_rates="late steps")
    return Configuration(architecture, "pgd", schedule, l2=5e-5)


def _shorter(printed: Configuration, epochs: int, steps: int, step: float) -> Configuration:
    """Return it with fewer epochs, the radius growing in proportion, milestones, and a shorter attack, longer steps."""
    schedule = printed.schedule
    part = epochs / schedule.epochs if schedule.epsilon else 0
    warm_up, ramp_up = round(schedule.warm_up * part), round(schedule.ramp_up * part)
    fewer = replace(schedule, epochs=epochs, warm_up=warm_up, ramp_up=ramp_up, learning_rates="milestones")
    return replace(printed, schedule=fewer, attack_steps=steps, attack_step=step)


def _networks() -> dict[str, TightnessNetwork]:
    natural, mild, strong = _natural("CONV"), _pgd("CONV", 0.1), _pgd("CONV", 0.3)
    small, small_mild, small_strong = _natural("FC-SMALL"), _pgd("FC-SMALL", 0.1), _pgd("FC-SMALL", 0.3)
    cifar = _natural("CONV+", l2=5e-3)
    lines = [
        ("A", "mnist", natural, replace(natural, l2=0.0), 0.07),
        ("B", "mnist", mild, _shorter(mild, 6, 5, 0.04), 0.15),
        ("C", "mnist", strong, _shorter(strong, 12, 5, 0.12), 0.4),
        ("D", "fashionmnist", natural, replace(natural, l2=0.0), 0.07),
        ("E", "cifar10", cifar, cifar, 0.07),
        ("F", "mnist", small, replace(small, l2=0.0), 0.07),
        ("G", "mnist", small_mild, _shorter(small_mild, 20, 10, 0.02), 0.15),
        ("H", "mnist", small_strong, _shorter(small_strong, 40, 10, 0.06), 0.4),
    ]
    return {line[0]: TightnessNetwork(*line) for line in lines}


#: Table 3 by letter.
TABLE_3: Mapping[str, TightnessNetwork] = _networks()
