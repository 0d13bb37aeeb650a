"""Networks: construction, equilibrium, derivative, files, PyTorch modules."""

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import forward_backward
from tightrope import datasets
from tightrope.errors import (
    ConvergenceError,
    CorruptDataError,
    MissingDataError,
    NetworkError,
    UnknownNameError,
)
from tightrope.networks import FeedForward, MonDEQ, implicit_equilibrium, load, to_module

PUBLISHED = "chen2021-mondeq/deq_MNIST_SingleFcNet_m=20.mat"


def factors(seed: int = 0, p: int = 7, p0: int = 5, K: int = 3, m: float = 0.5, scale: float = 1.0) -> dict:
    """Random factors of a monDEQ."""
    rng = np.random.default_rng(seed)
    return {
        "A": scale * rng.standard_normal((p, p)),
        "B": scale * rng.standard_normal((p, p)),
        "U": rng.standard_normal((p, p0)),
        "u": rng.standard_normal(p),
        "C": rng.standard_normal((K, p)),
        "c": rng.standard_normal(K),
        "m": m,
    }


def mondeq(seed: int = 0, **sizes) -> MonDEQ:
    """Random monDEQ."""
    return MonDEQ.from_factors(**factors(seed, **sizes))


def inputs(network, n: int, seed: int = 1) -> np.ndarray:
    """Random inputs (n, p0)."""
    return np.random.default_rng(seed).standard_normal((n, network.input_size))


def residual(network: MonDEQ, x, z) -> float:
    """Largest residual of a row of z at x."""
    return float(np.linalg.norm(z - np.maximum(network.preactivation(x, z), 0), axis=-1).max())


# construction -------------------------------------------------------------------------------------


def test_factors_give_the_stated_monotonicity():
    """I - W from A, B, m has smallest eigenvalue at least m, and W is what the formula says."""
    f = factors(m=0.7)
    network = MonDEQ.from_factors(**f)
    W = 0.3 * np.eye(7) - f["A"].T @ f["A"] + f["B"] - f["B"].T
    np.testing.assert_allclose(network.W, W, atol=1e-14)
    assert np.linalg.eigvalsh(np.eye(7) - (W + W.T) / 2)[0] >= 0.7 - 1e-12
    assert network.m == 0.7
    assert MonDEQ(W, f["U"], f["u"], f["C"], f["c"]).m >= 0.7 - 1e-12


def test_arrays_are_read_only_copies():
    """The network owns its weights; the caller's arrays stay theirs."""
    f = factors()
    network = MonDEQ.from_factors(**f)
    f["U"][0, 0] = 99.0
    assert network.U[0, 0] != 99.0
    with pytest.raises(ValueError, match="read-only"):
        network.U[0, 0] = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"U": np.zeros((6, 5))}, r"U has shape \(6, 5\); it must be 7 x any"),
        ({"u": np.zeros(3)}, r"u has shape \(3,\)"),
        ({"C": np.zeros((3, 4))}, "C has shape"),
        ({"c": np.zeros(2)}, "c has shape"),
        ({"A": np.zeros((7, 6))}, "B has shape"),
        ({"B": np.zeros(7)}, "B has shape"),
        ({"U": np.full((7, 5), np.nan)}, r"U has 35 entries that are nan or infinite, first at \(0, 0\)"),
        ({"c": [0, np.inf, 0]}, "c has 1 entries"),
        ({"m": 0.0}, "m is 0; it must be positive"),
        ({"m": np.nan}, "m has 1 entries"),
        ({"C": np.zeros((0, 7))}, "C is empty"),
        ({"U": [["a"] * 5] * 7}, "U is not an array of real numbers"),
        ({"u": 1j * np.ones(7)}, "u is not an array of real numbers"),
    ],
)
def test_bad_factors_are_named(change, message):
    """NaN and wrong shapes say which array, what arrived and what is needed."""
    with pytest.raises(NetworkError, match=message):
        MonDEQ.from_factors(**(factors() | change))


def test_a_matrix_that_is_not_monotone_is_refused_with_its_eigenvalue():
    """The message has the measured lambda_min of I - (W + W')/2."""
    with pytest.raises(NetworkError, match=r"not monotone.* is -1;"):
        MonDEQ(W=2 * np.eye(2), U=np.eye(2), u=np.zeros(2), C=np.eye(2), c=np.zeros(2))
    with pytest.raises(NetworkError, match="not monotone"):  # a singular I - W is monotone, not strongly
        MonDEQ(W=np.eye(2), U=np.eye(2), u=np.zeros(2), C=np.eye(2), c=np.zeros(2))


def test_too_large_m_is_refused():
    """m may not exceed what W has: every bound built on it would be wrong."""
    with pytest.raises(NetworkError, match=r"m is 1\.1; .* at most 1,"):
        MonDEQ(np.zeros((2, 2)), np.eye(2), np.zeros(2), np.eye(2), np.zeros(2), m=1.1)


def test_hash_depends_on_every_array_and_not_on_the_name():
    """The SHA-256 identifies the function that the network computes."""
    f = factors()
    one = MonDEQ.from_factors(**f)
    assert one.sha256() == MonDEQ.from_factors(**f, name="other").sha256()
    changed = [MonDEQ.from_factors(**(f | {key: np.asarray(f[key]) * 1.0001})).sha256() for key in f]
    assert len({one.sha256(), *changed}) == 1 + len(f)


# equilibrium --------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    p=st.integers(1, 8),
    p0=st.integers(1, 6),
    n=st.integers(0, 5),
    m=st.floats(1, 20),
    scale=st.floats(0.0, 1.0),  # forward-backward needs about (L / m)^2 iterations
)
def test_splitting_methods_agree(seed, p, p0, n, m, scale):
    """Two independent methods reach the same nonnegative point with the residual asked for."""
    network = mondeq(seed, p=p, p0=p0, m=m, scale=scale)
    x = inputs(network, n, seed)
    fast = network.equilibrium(x)
    slow = forward_backward.equilibrium(network, x, 1e-8)
    assert fast.shape == (n, p) and (fast >= 0).all()
    if n:
        size = max(1.0, np.linalg.norm(fast, axis=1).max())
        assert residual(network, x, fast) <= 1e-10 * size
        # distance to the equilibrium <= (1 + ||W|| / m) * residual
        factor = 1 + np.linalg.norm(network.W, 2) / network.m
        np.testing.assert_allclose(fast, slow, atol=2e-8 * size * factor)


def test_closed_form_equilibrium():
    """W = -B skew plus a diagonal: solved by hand."""
    network = MonDEQ(W=[[0.0, -1.0], [1.0, 0.0]], U=np.eye(2), u=[0.0, 0.0], C=np.eye(2), c=[0.0, 0.0])
    # z1 = relu(-z2 + x1), z2 = relu(z1 + x2)
    np.testing.assert_allclose(network.equilibrium([2.0, 0.0]), [1.0, 1.0], atol=1e-10)
    np.testing.assert_allclose(network.equilibrium([1.0, -3.0]), [1.0, 0.0], atol=1e-10)
    np.testing.assert_allclose(network.equilibrium([-1.0, 2.0]), [0.0, 2.0], atol=1e-10)


def test_single_input_batch_and_warm_start_agree():
    """A vector gives a vector; starting elsewhere gives the same point."""
    network = mondeq()
    x = inputs(network, 4)
    z = network.equilibrium(x)
    np.testing.assert_allclose(network.equilibrium(x[2]), z[2], atol=1e-8)
    np.testing.assert_allclose(network.equilibrium(x, z0=z[::-1] + 3.0), z, atol=1e-8)
    np.testing.assert_array_equal(network.equilibrium(x, z0=z, max_iterations=1), network.equilibrium(x, z0=z))
    assert network.logits(x[0]).shape == (3,) and isinstance(network.predict(x[0]), int)
    assert isinstance(network.predict(x[0].reshape(5, 1)), int)  # an image, and a batch of images
    np.testing.assert_array_equal(network.predict(x.reshape(-1, 1, 5, 1)), network.predict(x))
    np.testing.assert_array_equal(network.predict(x), network.logits(x).argmax(1))


def test_unreached_tolerance_is_an_error():
    """An iteration that stops early says so and is not a result."""
    network = mondeq()
    with pytest.raises(ConvergenceError, match=r"residual .* after max_iterations=2"):
        network.equilibrium(inputs(network, 3), max_iterations=2)


def test_bad_inputs_are_named():
    """Wrong shape and NaN."""
    network = mondeq()
    with pytest.raises(NetworkError, match=r"x has shape \(4,\); this network needs \(5,\) or \(N, 5\)"):
        network.equilibrium(np.zeros(4))
    with pytest.raises(NetworkError, match="nan or infinite"):
        network.equilibrium(np.full(5, np.nan))


def test_permuted_neurons_give_the_same_logits():
    """Renaming neurons changes nothing."""
    network, order = mondeq(), np.random.default_rng(3).permutation(7)
    permuted = MonDEQ(
        network.W[np.ix_(order, order)], network.U[order], network.u[order], network.C[:, order], network.c
    )
    x = inputs(network, 6)
    np.testing.assert_allclose(permuted.logits(x), network.logits(x), atol=1e-8)


# derivative ---------------------------------------------------------------------------------------


def central_differences(function, x, step=1e-5) -> np.ndarray:
    """Jacobian of function at x (p0,) by central differences, (..., p0)."""
    shifts = step * np.eye(len(x))
    return np.stack([(function(x + s) - function(x - s)) / (2 * step) for s in shifts], axis=-1)


@pytest.mark.parametrize("seed", range(5))
def test_jacobian_against_finite_differences(seed):
    """The implicit derivative is the derivative."""
    network = mondeq(seed)
    x = inputs(network, 3, seed)
    J = network.jacobian(x)
    assert J.shape == (3, 3, 5)
    for row, expected in zip(x, J, strict=True):
        numeric = central_differences(lambda v: network.logits(v, tolerance=1e-13), row)
        np.testing.assert_allclose(expected, numeric, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.jacobian(x[1]), J[1], atol=1e-9)


def test_adjoint_against_dense_algebra():
    """D (I - W'D)^-1 g by its formula."""
    network, rng = mondeq(4), np.random.default_rng(4)
    active, g = rng.random((6, 7)) < 0.5, rng.standard_normal((6, 7))
    w = network.adjoint(active, g, tolerance=1e-12)
    for D, row, expected in zip(active, g, w, strict=True):
        np.testing.assert_allclose(D * np.linalg.solve(np.eye(7) - network.W.T * D, row), expected, atol=1e-10)


def test_module_matches_the_arrays_and_their_jacobian():
    """Same logits; autograd through the module gives the Jacobian."""
    network = mondeq()
    module, x = to_module(network), inputs(network, 4)
    tensor = torch.tensor(x, requires_grad=True)
    logits = module(tensor)
    np.testing.assert_allclose(logits.detach().numpy(), network.logits(x), atol=1e-8)
    for k in range(network.classes):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), tensor, retain_graph=True)
        np.testing.assert_allclose(gradient.numpy(), network.jacobian(x)[:, k], atol=1e-8)


def test_module_gradients_of_input_and_weights_by_gradcheck():
    """Finite differences through the equilibrium, with respect to x and every parameter."""
    network = mondeq(2, p=4, p0=3, K=2)
    module = to_module(network)
    module.tolerance = 1e-13
    names = ["W", "U", "u", "C", "c"]

    def run(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    x = torch.tensor(inputs(network, 2), requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *(getattr(module, name) for name in names)), atol=1e-6, rtol=1e-5)


def test_implicit_equilibrium_chooses_a_step():
    """The step is optional."""
    network = mondeq()
    b = torch.tensor(inputs(network, 3) @ network.U.T + network.u)
    z = implicit_equilibrium(torch.tensor(network.W), b)
    np.testing.assert_allclose(z.numpy(), network.equilibrium(inputs(network, 3)), atol=1e-8)


# feed-forward -------------------------------------------------------------------------------------


def feedforward(seed: int = 0, sizes=(4, 6, 5, 3)) -> FeedForward:
    """Random feed-forward network."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    return FeedForward.dense(
        tuple(rng.standard_normal(pair) for pair in pairs),
        tuple(rng.standard_normal(pair[0]) for pair in pairs),
    )


def test_feedforward_matches_its_module_and_its_files(tmp_path):
    """Arrays, PyTorch module, .npz and state dictionary give the same function."""
    network = feedforward()
    x = inputs(network, 5)
    module = to_module(network)
    np.testing.assert_allclose(module(torch.tensor(x)).detach().numpy(), network.logits(x), atol=1e-12)
    network.to_npz(tmp_path / "dense.npz")
    torch.save(module.state_dict(), tmp_path / "dense.pth")
    for name in ("dense.npz", "dense.pth"):
        assert load(tmp_path / name).sha256() == network.sha256()
    assert isinstance(network.predict(x[0]), int) and network.predict(x).shape == (5,)


def test_feedforward_errors():
    """Layers must fit together."""
    with pytest.raises(NetworkError, match=r"weights\[1\] has shape \(2, 4\); it must be any x 3"):
        FeedForward.dense((np.ones((3, 2)), np.ones((2, 4))), (np.ones(3), np.ones(2)))
    with pytest.raises(NetworkError, match="1 weights and 0 biases"):
        FeedForward.dense((np.ones((3, 2)),), ())
    with pytest.raises(NetworkError, match="does not hold strides"):
        FeedForward.from_state_dict({"0.weight": np.ones((2, 1, 3, 3)), "0.bias": np.ones(2)})
    with pytest.raises(NetworkError, match="without gaps"):
        FeedForward.from_arrays({"W1": np.ones((1, 1)), "b2": np.ones(1)})


# files --------------------------------------------------------------------------------------------


def test_every_file_format_gives_the_same_network(tmp_path):
    """.npz with W, .npz and .mat with factors, state dictionary with the keys of locuslab/monotone_op_net."""
    f = factors()
    network = MonDEQ.from_factors(**f)
    network.to_npz(tmp_path / "w.npz")
    np.savez(tmp_path / "factors.npz", **f)
    scipy.io.savemat(tmp_path / "factors.mat", f)
    layer = "mon.linear_module."
    state = {
        layer + "A.weight": f["A"],
        layer + "B.weight": f["B"],
        layer + "U.weight": f["U"],
        layer + "U.bias": f["u"],
    }
    state |= {"Wout.weight": f["C"], "Wout.bias": f["c"]}
    torch.save({key: torch.tensor(value) for key, value in state.items()}, tmp_path / "state.pth")
    for name in ("w.npz", "factors.npz", "factors.mat", "state.pth"):
        again = load(tmp_path / name, **({"m": f["m"]} if name.endswith("pth") else {}))
        assert again.sha256() == network.sha256(), name


def test_factors_without_m_ask_for_it(tmp_path):
    """W cannot be built from A and B alone."""
    f = factors()
    del f["m"]
    scipy.io.savemat(tmp_path / "n.mat", f)
    with pytest.raises(NetworkError, match="Give m="):
        load(tmp_path / "n.mat")
    assert load(tmp_path / "n.mat", m=0.5).m == 0.5


def test_missing_keys_are_listed(tmp_path):
    """The message says what lacks and what is there."""
    np.savez(tmp_path / "n.npz", W=np.zeros((2, 2)), U=np.zeros((2, 2)))
    with pytest.raises(NetworkError, match=r"lacks u, C, c; it has U, W"):
        load(tmp_path / "n.npz")


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".pth"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated_files_are_named(tmp_path, suffix, keep):
    """Half a file is a CorruptDataError, whichever format."""
    f, path = factors(), tmp_path / f"n{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, **f)
    elif suffix == ".mat":
        scipy.io.savemat(path, f)
    else:
        torch.save({key: torch.tensor(value) for key, value in f.items()}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(CorruptDataError, match=r"n\.(npz|mat|pth) cannot be read"):
        load(path)


def test_files_that_could_run_code_are_refused(tmp_path):
    """Pickled objects are not loaded, in .npz or in .pth."""
    np.savez(tmp_path / "n.npz", W=np.array([print], dtype=object))
    with pytest.raises(CorruptDataError, match="pickled objects"):
        load(tmp_path / "n.npz")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "n.pth")
    with pytest.raises(CorruptDataError, match="weights_only"):
        load(tmp_path / "n.pth")


def test_absent_file_and_unknown_suffix(tmp_path):
    """Each has its name."""
    with pytest.raises(MissingDataError, match=r"no file .*n\.npz"):
        load(tmp_path / "n.npz")
    with pytest.raises(UnknownNameError, match="network file type"):
        load(tmp_path / "n.h5")


# the published network ----------------------------------------------------------------------------


@pytest.mark.published
def test_published_network():
    """p = 87, m = 20, clean accuracy 99/100; both splitting methods; gradient against finite differences."""
    network = load(datasets.fetch(PUBLISHED), m=20)
    assert (network.input_size, network.width, network.classes) == (784, 87, 10)
    mnist = datasets.load("mnist")
    x = mnist.normalisation.to_input(mnist.images[:100])
    assert int((network.predict(x) == mnist.labels[:100]).sum()) == 99
    z = network.equilibrium(x)
    np.testing.assert_allclose(z, forward_backward.equilibrium(network, x, 1e-10), atol=1e-9)
    numeric = central_differences(lambda v: network.logits(v, tolerance=1e-12), x[0], 1e-4)
    np.testing.assert_allclose(network.jacobian(x[0]), numeric, atol=1e-6)
