"""The configurations of jovanovic2022-paradox: Table 6 for MNIST and FashionMNIST, Appendix G for SVHN and CIFAR-10.

`python -m tightrope.training.printed cifar10 CONV+ 0.03137 box network.npz` trains one: data set, network, the radius
that it is certified at, how it is trained, where its weights go; the checkpoint lies beside them. Two things of Table
6's networks are in the authors' scripts only: batches of 50 for CONV with DeepZ and CROWN, and the seed, 10 or 12.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tightrope import datasets
from tightrope.errors import UnknownNameError
from tightrope.training.certified import Configuration, Trained, train
from tightrope.training.recipes import DIGITS_METHODS
from tightrope.training.schedules import Schedule

#: How a network was trained, by the last part of its name -> method of tightrope.training.
METHODS: Mapping[str, str] = {
    name: method for name, method in DIGITS_METHODS.items() if method not in ("natural", "pgd")
}
# Network, epsilon_test, training: epsilon_train, N_w, N_r, kappa_end, lambda, alpha, learning rates, elision.
_TABLE_6 = """
FC   0.1 box         0.2 10 100 0.5 5e-6 5e-4 milestones yes
FC   0.2 box         0.2 10 100 0   5e-6 5e-4 milestones yes
FC   0.3 box         0.3 10 100 0   5e-6 5e-4 milestones yes
FC   0.1 hbox        0.1 0  50  0   5e-5 5e-4 milestones yes
FC   0.2 hbox        0.2 10 50  0.5 5e-5 5e-4 milestones yes
FC   0.3 hbox        0.3 0  50  0.5 5e-5 5e-4 milestones yes
FC   0.1 crown-ibp-r 0.2 0  50  0.5 5e-6 5e-4 milestones yes
FC   0.2 crown-ibp-r 0.3 0  50  0.5 5e-6 5e-4 milestones yes
FC   0.3 crown-ibp-r 0.3 0  50  0.5 5e-6 5e-4 milestones yes
FC   0.1 deepz       0.1 10 50  0   5e-6 5e-4 milestones yes
FC   0.2 deepz       0.2 0  50  0   5e-6 1e-3 steps      no
FC   0.3 deepz       0.3 0  50  0   5e-6 1e-3 steps      no
FC   0.1 crown       0.1 0  100 0   0    5e-4 milestones yes
FC   0.2 crown       0.2 10 50  0   0    5e-4 milestones yes
FC   0.3 crown       0.3 10 100 0   0    5e-4 milestones yes
FC   0.1 crown-ibp   0.2 10 50  0.5 0    5e-4 milestones yes
FC   0.2 crown-ibp   0.2 10 50  0   0    5e-4 milestones yes
FC   0.3 crown-ibp   0.3 10 100 0   0    5e-4 milestones yes
CONV 0.1 box         0.2 0  50  0.5 5e-6 5e-4 milestones yes
CONV 0.2 box         0.3 0  50  0.5 5e-6 5e-4 milestones yes
CONV 0.3 box         0.3 0  50  0.5 5e-6 5e-4 milestones yes
CONV 0.1 hbox        0.3 0  50  0.5 5e-5 5e-4 milestones yes
CONV 0.2 hbox        0.3 0  50  0.5 5e-5 5e-4 milestones yes
CONV 0.3 hbox        0.3 0  50  0.5 5e-5 5e-4 milestones yes
CONV 0.1 crown-ibp-r 0.1 10 50  0   0    5e-4 milestones yes
CONV 0.2 crown-ibp-r 0.2 10 50  0   0    5e-4 milestones yes
CONV 0.3 crown-ibp-r 0.3 10 50  0.5 5e-6 5e-4 milestones yes
CONV 0.1 deepz       0.2 0  50  0   5e-6 5e-4 milestones yes
CONV 0.2 deepz       0.2 0  50  0   5e-6 5e-4 milestones yes
CONV 0.3 deepz       0.3 0  50  0   5e-5 5e-4 milestones yes
CONV 0.1 crown       0.2 10 100 0   0    5e-4 milestones yes
CONV 0.2 crown       0.2 10 100 0   0    5e-4 milestones yes
CONV 0.3 crown       0.3 10 100 0   0    5e-4 milestones yes
CONV 0.1 crown-ibp   0.2 10 100 0.5 5e-6 5e-4 milestones yes
CONV 0.2 crown-ibp   0.3 10 50  0.5 5e-6 5e-4 milestones yes
CONV 0.3 crown-ibp   0.3 10 50  0   5e-6 5e-4 milestones yes
"""
Key = tuple[str, float, str]  # network, epsilon_test in pixel units, training


def _mnist() -> dict[Key, Configuration]:
    found = {}
    for line in _TABLE_6.split("\n")[1:-1]:
        network, test, training, *numbers, rates, elision = line.split()
        epsilon, warm, ramp, kappa, l1, alpha = map(float, numbers)
        schedule = Schedule(
            200, int(warm), int(ramp), epsilon, kappa_end=kappa, learning_rate=alpha, learning_rates=rates
        )
        size = 50 if network == "CONV" and training in ("deepz", "crown") else 100
        one = Configuration(network, METHODS[training], schedule, size, l1=l1, elision=elision == "yes")
        found[network, float(test), training] = one
    return found


def _svhn() -> dict[Key, Configuration]:
    radius, found = 8 / 255, {}
    for training in METHODS:
        first = training == "crown-ibp-r"
        if first or training in ("box", "crown-ibp"):  # from Gowal et al.
            kappa, rate = (0.5, 1e-3) if first else (0.0, 5e-4)
            schedule = Schedule(
                2200, 10, 1100, 1.1 * radius, kappa_end=kappa, learning_rate=rate, milestones=(120, 180)
            )
            size, l1 = 50, 5e-5 if training == "box" else 0.0
        else:  # from Wong and Kolter
            schedule = Schedule(
                100, 0, 50, radius, learning_rate=1e-3, learning_rates="steps", epsilon_start=0.001, halving=10
            )
            size, l1 = 20, 5e-6
        found["CONV", radius, training] = Configuration("CONV", METHODS[training], schedule, size, l1=l1, seed=1)
    return found


def _cifar10() -> dict[Key, Configuration]:
    radius, found = 8 / 255, {}
    for training in METHODS:
        if training == "crown":  # out of memory in the paper
            continue
        if training in ("box", "crown-ibp-r", "crown-ibp"):  # from Zhang et al.; 2600 and 3040 of 3200 epochs
            schedule = Schedule(
                3200, 320, 1600, 1.1 * radius, kappa_start=1.0 if training == "box" else 0.0, milestones=(162.5, 190)
            )
            one = Configuration("CONV+", METHODS[training], schedule, 512, augment=True, seed=1)
        else:  # from Wong et al., there with 50 random Cauchy projections; here with exact bounds
            schedule = Schedule(240, 0, 80, radius, learning_rates="steps", epsilon_start=0.001, halving=10)
            one = Configuration("CONV+", METHODS[training], schedule, 50, elision=False, seed=1)
        found["CONV+", radius, training] = one
    return found


#: By data set, then network, epsilon_test and training.
CONFIGURATIONS: Mapping[str, Mapping[Key, Configuration]] = {
    "mnist": _mnist(),
    "fashionmnist": _mnist(),
    "svhn": _svhn(),
    "cifar10": _cifar10(),
}


def configuration(dataset: str, network: str, epsilon_test: float, training: str) -> Configuration:
    """Return the configuration of a network of the paper, certified at `epsilon_test` in pixel units.

    Examples
    --------
    >>> configuration("mnist", "FC", 0.3, "deepz").elision
    False
    """
    if dataset not in CONFIGURATIONS:
        raise UnknownNameError("data set", dataset, CONFIGURATIONS)
    known = CONFIGURATIONS[dataset]
    names = {f"{n}, {e:.4g}, {t}": one for (n, e, t), one in known.items()}
    wanted = f"{network}, {epsilon_test:.4g}, {training}"
    if wanted not in names:
        raise UnknownNameError(f"network of {dataset}", wanted, names)
    return names[wanted]


def train_printed(
    dataset: str,
    network: str,
    epsilon_test: float,
    training: str,
    file: Path,
    *,
    until: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train the network of :func:`configuration` on its data set and write its weights to an .npz file.

    The checkpoint lies beside it, the same name with .pt; `until` and `progress` are those of
    :func:`tightrope.training.train`.
    """
    file = Path(file)
    found = train(
        configuration(dataset, network, epsilon_test, training),
        datasets.load(dataset, "train"),
        checkpoint=file.with_suffix(".pt"),
        until=until,
        progress=progress,
        name=file.stem,
    )
    found.network.to_npz(file)
    return found


if __name__ == "__main__":
    import sys

    if len(sys.argv) != 6:
        sys.exit("usage: python -m tightrope.training.printed DATASET NETWORK EPSILON_TEST TRAINING FILE.npz")
    dataset, network, radius, training, path = sys.argv[1:]

    def tell(epoch: int, loss: float) -> None:
        print(f"epoch {epoch} loss {loss:.4f}", flush=True)

    train_printed(dataset, network, float(radius), training, Path(path), progress=tell)
