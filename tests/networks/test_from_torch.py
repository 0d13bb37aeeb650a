"""Modules of PyTorch: what is read computes the same, what is not read is named."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from tightrope.errors import CorruptDataError, NetworkError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, load


class Normalize(nn.Module):
    """As in torchvision: mean and std for each channel, not parameters."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x):
        shape = (-1, *[1] * (x.dim() - 2))
        return (x - torch.tensor(self.mean).reshape(shape)) / torch.tensor(self.std).reshape(shape)


class Normalization(nn.Module):
    """As in certified training: buffers called mean and sigma."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1307]))
        self.register_buffer("sigma", torch.tensor([0.3081]))

    def forward(self, x):
        return (x - self.mean) / self.sigma


def trained_batch_norms(module: nn.Module) -> nn.Module:
    """The module with running statistics and factors that are not those of a new one, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                if tensor is not None:
                    tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    return module.eval()


class OfFewImages(nn.Module):
    """Asks what torch.fx does not know: torch.export does."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2))
        self.W = nn.Parameter(torch.randn(8, 3))

    def forward(self, x):
        if x.shape[-1] > 100:
            raise ValueError("too large")
        z = self.body(x)
        return torch.cat([z.flatten(1) @ self.W, (z[:, 1] - z[:, 0]).mean((1, 2)).unsqueeze(1)], 1)


MODULES = {
    "traced by torch.export": (lambda: trained_batch_norms(OfFewImages()), (1, 4, 4), (1, 4, 4)),
    "convolutions and pooling of every form": (
        lambda: nn.Sequential(
            nn.ZeroPad2d((1, 0, 0, 2)),
            nn.Conv2d(2, 2, 2, groups=2, dilation=2),
            nn.LeakyReLU(0.1),
            nn.AvgPool2d(2, ceil_mode=True),
            nn.ConvTranspose2d(2, 1, 2, stride=2),
            nn.ELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        ),
        (2, 5, 5),
        (2, 5, 5),
    ),
    "dense": (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), None, (5,)),
    "one layer": (lambda: nn.Linear(5, 4), None, (5,)),
    "images into dense": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False), nn.ReLU(inplace=True), nn.Linear(4, 3)),
        (1, 4, 4),
        (1, 4, 4),
    ),
    "images into dense, their shape unknown": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3)),
        None,
        (1, 4, 4),
    ),
    "normalised convolutions": (
        lambda: nn.Sequential(
            Normalize([0.1, 0.2], [0.5, 0.25]),
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Sequential(nn.Conv2d(4, 3, (3, 2), padding=(1, 0), bias=False), nn.ReLU(), nn.Flatten()),
            nn.Dropout(0.5),
            nn.Linear(3 * 4 * 3, 6),
            nn.ReLU(),
            nn.Identity(),
            nn.Linear(6, 3),
        ).eval(),
        (2, 8, 8),
        (2, 8, 8),
    ),
    "batch norms and pooling": (
        lambda: trained_batch_norms(
            nn.Sequential(
                nn.Conv2d(1, 4, 3, padding="same"),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.AvgPool2d(2, padding=1),
                nn.Conv2d(4, 2, 2, padding="valid"),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(2 * 3 * 3, 5),
                nn.BatchNorm1d(5, affine=True),
                nn.ReLU(),
                nn.Linear(5, 3),
            )
        ),
        (1, 6, 6),
        (1, 6, 6),
    ),
    "no affine batch norm": (
        lambda: trained_batch_norms(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))),
        None,
        (4,),
    ),
    "linear layers without ReLU": (
        lambda: nn.Sequential(Normalization(), nn.Flatten(), nn.Linear(9, 6), nn.Linear(6, 4), nn.ReLU(), nn.ReLU()),
        (1, 3, 3),
        (1, 3, 3),
    ),
    "relu first": (lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), None, (4,)),
    "rows to images": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten()),
        (9,),
        (9,),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_same_scores_as_the_module(name, tmp_path):
    """In double precision to rounding, in the module's own precision to its rounding; and after a round trip."""
    make, input_shape, shape = MODULES[name]
    torch.manual_seed(0)
    module = make()
    network = FeedForward.from_torch(module, input_shape, name=name)
    x = torch.randn(20, *shape)
    with torch.no_grad():
        single = module(x).flatten(1).numpy()
        double = module.double()(x.double()).flatten(1).numpy()
    rows = x.flatten(1).double().numpy()
    np.testing.assert_allclose(network.logits(rows), double, atol=1e-6 * np.abs(double).max())
    np.testing.assert_allclose(network.logits(rows), single, atol=1e-4 * np.abs(double).max())
    np.testing.assert_allclose(network.to_dense().logits(rows), network.logits(rows), atol=1e-9)
    network.to_npz(tmp_path / "net.npz")
    assert load(tmp_path / "net.npz").sha256() == network.sha256()


def test_what_is_read_is_as_simple_as_possible():
    """A dense module is a dense network; convolutions stay convolutions."""
    torch.manual_seed(0)
    dense = FeedForward.from_torch(MODULES["images into dense"][0](), (1, 4, 4))
    assert dense.is_dense and dense.sizes == (16, 4, 3)
    network = FeedForward.from_torch(MODULES["normalised convolutions"][0](), (2, 8, 8))
    assert [type(layer) for layer in network.layers] == [Composition, Convolution, Dense, Dense]
    state = FeedForward.from_state_dict(MODULES["images into dense"][0]().state_dict())
    assert state.sizes == dense.sizes


class Twisted(nn.Sequential):
    """Says that it is a Sequential and computes something else."""

    def forward(self, x):
        return super().forward(x) ** 2


class Product(nn.Module):
    """Not linear in either."""

    def forward(self, x):
        return x * torch.relu(x)


class Branching(nn.Module):
    """Another function where the values are others."""

    def forward(self, x):
        return torch.relu(x) if x.sum() > 0 else x


class BesideTanh(nn.Module):
    """A skip past a nonlinearity that would change what is carried."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        z = torch.relu(self.first(x))
        return z + torch.tanh(self.second(z))


@pytest.mark.parametrize(
    ("module", "input_shape", "message"),
    [
        (
            nn.Sequential(nn.Linear(3, 3), nn.Softplus()),
            None,
            r"layer 1 \(Softplus\): it is not supported. Supported: Linear",
        ),
        (nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.Mish())), None, r"layer 0\.1 \(Mish\): it is not supported"),
        (nn.Sequential(nn.Linear(3, 3), Product()), None, "operation mul .*multiplies two branches"),
        (nn.Sequential(nn.Linear(3, 3), Branching()), None, "torch.fx cannot trace the module .*give input_shape"),
        (nn.Sequential(nn.Linear(3, 3), Branching()), (3,), "neither torch.fx nor torch.export"),
        (BesideTanh(), None, "Tanh beside other values that a later part of the network needs"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, ceil_mode=True)),
            (1, 4, 4),
            r"layer 1 \(MaxPool2d\): ceil_mode",
        ),
        (nn.Sequential(nn.Linear(3, 3), nn.GELU()), None, "GELU"),
        (nn.Sequential(nn.Conv2d(1, 1, 2)), None, r"give input_shape=\(channels, height, width\)"),
        (nn.Sequential(nn.Conv2d(3, 2, 2)), (1, 4, 4), r"layer 0 \(Conv2d\): input_shape .* has 1 channels"),
        (nn.Sequential(nn.Conv2d(1, 1, 2), nn.Linear(9, 2)), (1, 4, 4), r"shape \(1, 3, 3\); Flatten\?"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 2)), None, "takes 5 numbers"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout()), None, r"training mode, .*module\.eval\(\)"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), None, "training mode"),
        (nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)).eval(), None, "track_running_stats"),
        (
            nn.Sequential(Normalize([0.1, 0.2], [1.0, 1.0]), nn.Conv2d(1, 1, 1)),
            (1, 2, 2),
            "2 and 2 numbers for 1 chann",
        ),
        (nn.Sequential(Normalize([0.1], [0.0]), nn.Conv2d(1, 1, 1)), (1, 2, 2), "one positive std"),
        (Twisted(nn.Linear(3, 3)), None, "operation pow"),
        (nn.Sequential(), (3,), "no layer with weights"),
        (nn.Sequential(nn.Linear(3, 2)), (1, 28), "input_shape: got"),
        ({"0.weight": torch.ones(2, 2)}, None, "from_state_dict"),
    ],
)
def test_what_is_not_read_is_named(module, input_shape, message):
    """The layer, its position, and what to do."""
    with pytest.raises(NetworkError, match=message):
        FeedForward.from_torch(module, input_shape)


def test_nan_weights_are_named():
    """As everywhere."""
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].weight.data[1, 2] = float("nan")
    with pytest.raises(NetworkError, match=r"layer 0 \(Linear\): weight has 1 entries that are nan .* \(1, 2\)"):
        FeedForward.from_torch(module)


def test_a_hook_that_changes_the_result_is_seen():
    """The layers look right, the function is another."""
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].register_forward_hook(lambda *_: torch.zeros(6, 2, dtype=torch.float64))
    with pytest.raises(NetworkError, match="a hook or a changed layer"):
        FeedForward.from_torch(module)


def test_state_dictionaries_with_convolutions():
    """Strides and paddings come from the caller; normalisations are read; what is missing is said."""
    module = nn.Sequential(
        Normalization(), nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)
    )
    network = FeedForward.from_torch(module, (1, 4, 4))
    state = module.state_dict()
    read = FeedForward.from_state_dict(state, input_shape=(1, 4, 4), convolutions=((2, 1),))
    assert read.sha256() == network.sha256()
    for arguments in ({}, {"convolutions": ((2, 1),)}, {"input_shape": (1, 4, 4), "convolutions": ((2, 1),) * 2}):
        with pytest.raises(NetworkError, match="does not hold strides and paddings: this one has 1 convolutions"):
            FeedForward.from_state_dict(state, **arguments)
    with pytest.raises(NetworkError, match=r"layers\[1\] \(Dense\) needs 12 inputs, layers\[0\] has 48"):
        FeedForward.from_state_dict(state, input_shape=(1, 4, 4), convolutions=((1, 1),))
    with pytest.raises(NetworkError, match="are read; the state dictionary has"):
        FeedForward.from_state_dict(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict())
    with pytest.raises(NetworkError, match="are read; the state dictionary has nothing"):
        FeedForward.from_state_dict({})


class Malicious:
    """Unpickling it would make a folder."""

    def __init__(self, folder: str):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".npz"])
def test_a_file_that_would_run_code_does_not(suffix, tmp_path):
    """Neither as a torch file nor as pickled arrays."""
    marker, path = tmp_path / "was-here", tmp_path / f"net{suffix}"
    if suffix == ".npz":
        np.savez(path, W1=np.array([Malicious(str(marker))], dtype=object), b1=np.zeros(1))
    else:
        torch.save({"0.weight": torch.ones(1, 1), "0.bias": Malicious(str(marker))}, path)
    with pytest.raises(CorruptDataError, match=f"net{suffix} cannot be read"):
        load(path)
    assert not marker.exists()
