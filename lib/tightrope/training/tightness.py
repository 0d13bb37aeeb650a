"""The networks of the tightness experiments (Table 3): natural or adversarial training, no certificates.

`python -m tightrope.training.tightness A F G` trains those of these letters that are not in data/models/mnist; a run
that is stopped continues after its last epoch. `--printed` trains with the printed epochs and attack instead of those
that fit two cores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tightrope import datasets, paths
from tightrope.errors import UnknownNameError
from tightrope.networks import FeedForward
from tightrope.training.certified import Configuration, train
from tightrope.training.mondeq import accuracy
from tightrope.training.schedules import Schedule


@dataclass(frozen=True)
class TightnessNetwork:
    """One line of Table 3.

    Attributes
    ----------
    experiment : str
        A letter from A to H.
    dataset : str
    printed : Configuration
        As the paper trains it. The learning rate, its schedule and the batch size are not printed for these networks:
        they are those of the main experiments.
    ours : Configuration
        With the epochs and the attack that the weights in data/models were trained with; the printed ones for data sets
        that the project does not have.
    largest : float
        The largest radius of its CR curve, in pixel units.
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


def _natural(architecture: str, l2: float = 5e-5, epochs: int = 200) -> Configuration:
    return Configuration(architecture, "natural", Schedule(epochs), l2=l2)


def _pgd(architecture: str, epsilon: float) -> Configuration:
    """PGD of 100 steps of 0.01; for radius 0.3, 10 epochs of natural training and 50 of a growing radius first."""
    warm, ramp = (10, 50) if epsilon == 0.3 else (0, 0)
    return Configuration(architecture, "pgd", Schedule(200, warm, ramp, epsilon), l2=5e-5)


def _shorter(printed: Configuration, epochs: int, steps: int, step: float) -> Configuration:
    """The same with fewer epochs, warm-up and ramp-up in proportion, and a shorter attack with longer steps."""
    schedule = printed.schedule
    part = epochs / schedule.epochs
    fewer = replace(schedule, epochs=epochs, warm_up=round(schedule.warm_up * part),
                    ramp_up=round(schedule.ramp_up * part))  # fmt: skip
    return replace(printed, schedule=fewer, attack_steps=steps, attack_step=step)


def _networks() -> dict[str, TightnessNetwork]:
    natural, mild, strong = _natural("CONV"), _pgd("CONV", 0.1), _pgd("CONV", 0.3)
    small, small_mild, small_strong = _natural("FC-SMALL"), _pgd("FC-SMALL", 0.1), _pgd("FC-SMALL", 0.3)
    cifar = _natural("CONV+", l2=5e-3)
    lines = [
        ("A", "mnist", natural, _shorter(natural, 30, 100, 0.01), 0.07),
        ("B", "mnist", mild, _shorter(mild, 6, 5, 0.04), 0.15),
        ("C", "mnist", strong, _shorter(strong, 12, 5, 0.12), 0.4),
        ("D", "fashionmnist", natural, natural, 0.07),
        ("E", "cifar10", cifar, cifar, 0.07),
        ("F", "mnist", small, _shorter(small, 60, 100, 0.01), 0.07),
        ("G", "mnist", small_mild, _shorter(small_mild, 20, 10, 0.02), 0.15),
        ("H", "mnist", small_strong, _shorter(small_strong, 40, 10, 0.06), 0.4),
    ]
    return {line[0]: TightnessNetwork(*line) for line in lines}


#: Table 3 by letter.
TABLE_3: Mapping[str, TightnessNetwork] = _networks()


def train_tightness_networks(
    letters: Sequence[str],
    *,
    printed: bool = False,
    folder: Path | None = None,
    checkpoints: Path | None = None,
    data: datasets.Dataset | None = None,
    progress: Callable[[str, int, float], None] | None = None,
) -> list[Path]:
    """Train networks of Table 3 that are not there yet and write them; return their files.

    Weights are written in half precision, and the network is what the file says: 600 kB for CONV.

    Parameters
    ----------
    letters
        Experiments, such as "AF".
    printed
        Whether to train with the printed epochs and attack.
    folder, checkpoints
        data/models and data/checkpoints if left out.
    data
        Training images; those of the experiment's data set if left out.
    progress
        Called with letter, epoch from 1, and loss.
    """
    folder = paths.MODELS if folder is None else Path(folder)
    checkpoints = paths.CHECKPOINTS if checkpoints is None else Path(checkpoints)
    written = []
    for letter in letters:
        if letter not in TABLE_3:
            raise UnknownNameError("tightness experiment", letter, TABLE_3)
        found = TABLE_3[letter]
        file = folder / f"{found.name}.npz"
        written.append(file)
        if file.is_file():
            continue
        configuration = found.printed if printed else found.ours
        images = datasets.load(found.dataset, "train") if data is None else data
        tell = progress and (lambda epoch, loss, letter=letter: progress(letter, epoch, loss))
        trained = train(configuration, images, checkpoint=checkpoints / f"{found.name.replace('/', '-')}.pt",
                        progress=tell, name=found.name)  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        trained.network.to_npz(file, "float16")
    return written


def readme(folder: Path | None = None) -> str:
    """The page beside the weights: how each was trained, and its accuracy on the test images."""
    folder = paths.MODELS if folder is None else Path(folder)
    lines = []
    for found in TABLE_3.values():
        file = folder / f"{found.name}.npz"
        if not file.is_file():
            continue
        network, ours, was = FeedForward.from_npz(file), found.ours, found.printed
        attack = "" if ours.method == "natural" else f"{ours.attack_steps} of {ours.attack_step:g}"
        printed = "" if ours.method == "natural" else f"{was.attack_steps} of {was.attack_step:g}"
        share = f"{100 * accuracy(network, datasets.load(found.dataset)):.2f} %"
        cells = (found.experiment, f"`{found.name}`", ours.architecture, ours.schedule.epochs, was.schedule.epochs,
                 attack, printed, ours.seed, share, f"`{network.sha256()[:16]}`")  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    return _README + "".join(lines)


_README = """# Networks of the tightness experiments (jovanovic2022-paradox, Table 3)

Trained for this project on MNIST, natural or adversarial (PGD), by `python -m tightrope.training.tightness`; everything
that decides the weights is in `tightrope.training.tightness.TABLE_3`: Adam with learning rate 0.0005, divided by 10
after 65 % and 95 % of the epochs, batches of 100, L2 5e-5. Epochs and steps of the attack are fewer than the printed
ones, which would take two cores many hours; `--printed` trains with those. Last weights kept, rounded to half precision
once: the network is what the file says. The same seed gives the same weights on the same machine and versions. Images
are flattened row by row and normalised as `tightrope.datasets` says. The licence is that of the project.

| experiment | name | network | epochs | printed | attack | printed | seed | test accuracy | hash |
|---|---|---|---|---|---|---|---|---|---|
"""

if __name__ == "__main__":
    import sys

    chosen = [argument for argument in sys.argv[1:] if argument != "--printed"]
    for path in train_tightness_networks(
        chosen or "ABCFGH",
        printed="--printed" in sys.argv,
        progress=lambda letter, epoch, loss: print(f"{letter} epoch {epoch} loss {loss:.4f}", flush=True),
    ):
        print(path)
    (paths.MODELS / "mnist" / "README.md").write_text(readme(), encoding="utf-8")
