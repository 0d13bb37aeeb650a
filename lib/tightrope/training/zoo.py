"""The small feed-forward networks that the repository ships, one for each kind of training.

`python -m tightrope.training.zoo` trains them again and writes data/models/digits/fc-*.npz and the README beside them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tightrope import datasets, paths
from tightrope.training.certified import Configuration, train
from tightrope.training.mondeq import accuracy
from tightrope.training.schedules import Schedule

ARCHITECTURE = "FC 50, FC 50, FC 50, FC 10"
EPSILON = 0.1
#: What a file is called -> how it is trained. As in the paper's Table 2, with a natural and an adversarial one beside.
TRAININGS = {
    "box": "box",
    "hbox": "hbox",
    "crown-ibp-r": "crown_ibp",
    "deepz": "deepz",
    "crown": "crown",
    "crown-ibp": "crown_ibp_hybrid",
    "natural": "natural",
    "pgd": "pgd",
}


def digits_configuration(method: str, seed: int = 0, epochs: int = 60) -> Configuration:
    """The one configuration of all digits networks but for the method: 2 epochs warm-up, half of them ramp-up."""
    schedule = Schedule(epochs=epochs, warm_up=2, ramp_up=epochs // 2, epsilon=EPSILON, learning_rate=3e-3)
    return Configuration(ARCHITECTURE, method, schedule, batch_size=50, l1=5e-6, attack_steps=10, attack_step=0.02,
                         seed=seed)  # fmt: skip


CERTIFIED_RECIPES: Mapping[str, Configuration] = {
    f"digits/fc-{name}": digits_configuration(method) for name, method in TRAININGS.items()
}


def train_certified_zoo(folder: Path | None = None, names: Sequence[str] | None = None) -> list[Path]:
    """Train these networks (all if left out), write them and the README; return the files.

    A network that is there and not among the names keeps its file, and the README lists what is there.
    """
    folder = paths.MODELS if folder is None else Path(folder)
    written = []
    for name in CERTIFIED_RECIPES if names is None else names:
        network = train(CERTIFIED_RECIPES[name], datasets.load(name.split("/")[0], "train"), device="cpu").network
        file = folder / f"{name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        network.to_npz(file)
        written.append(file)
    readme = folder / "digits" / "README.md"
    readme.write_text(_README + "".join(_line(folder, name) for name in CERTIFIED_RECIPES), encoding="utf-8")
    return [*written, readme]


def _line(folder: Path, name: str) -> str:
    from tightrope.networks import FeedForward

    file = folder / f"{name}.npz"
    if not file.is_file():
        return ""
    network, data = FeedForward.from_npz(file), datasets.load(name.split("/")[0])
    method = CERTIFIED_RECIPES[name].method
    return f"| `{name}` | {method} | {100 * accuracy(network, data):.1f} % | `{network.sha256()[:16]}` |\n"


_README = f"""# Feed-forward networks for digits, one for each kind of training

`{ARCHITECTURE}` on 8 x 8 digits, radius {EPSILON} in pixel units (L-infinity, cut to the pixel range), one
configuration for all (`tightrope.training.zoo.digits_configuration`) and no tuning for any of them. Keys W1, b1, ... in
float64; images flattened row by row and normalised as `tightrope.datasets` says. `python -m tightrope.training.zoo`
trains them again (a few minutes on one core); the same seed gives the same weights on the same machine and versions.

| name | trained with | test accuracy | hash |
|---|---|---|---|
"""

if __name__ == "__main__":
    import sys

    for path in train_certified_zoo(names=sys.argv[1:] or None):
        print(path)
