"""The table behind `tightrope train-zoo`: complete, true of the committed networks, and one writer."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from tightrope import cli, paths
from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import FeedForward, load
from tightrope.training import RECIPES, WITHOUT_RECIPE, train_zoo

PAGE = (paths.MODELS / "README.md").read_text(encoding="utf-8")
FILES = sorted(
    path.relative_to(paths.MODELS).as_posix()
    for path in paths.MODELS.rglob("*")
    if path.is_file() and path.suffix not in (".md", ".py", ".pyc")
)
COMMITTED = [file.removesuffix(".npz") for file in FILES if file not in WITHOUT_RECIPE]


def test_every_file_has_a_recipe_or_a_reason():
    """Nothing in data/models is of unknown origin, and no reason is for a file that is not there."""
    assert set(COMMITTED) <= set(RECIPES) and set(WITHOUT_RECIPE) <= set(FILES)
    assert {name for name, recipe in RECIPES.items() if recipe.quick} <= set(COMMITTED)


@pytest.mark.parametrize("name", COMMITTED)
def test_recipes_are_those_of_the_committed_networks(name):
    """Sizes and training; the page states the hash of the weights that are there."""
    network, recipe = load(paths.MODELS / f"{name}.npz"), RECIPES[name]
    inner = network.sizes[1:-1] if isinstance(network, FeedForward) else (network.width,)
    assert recipe.sizes == (network.input_size, *inner, network.classes)
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    if recipe.quick:  # MNIST may not be there
        assert line == recipe.row(network)
    else:
        assert recipe.words in line and f"`{network.sha256()[:16]}`" in line


@pytest.mark.parametrize("name", ["digits/relu-16", "spheres/relu-10", "digits/fc-natural"])
def test_the_cheapest_networks_trained_again(tmp_path, name):
    """Nearly the accuracy of the committed ones (rounding differs from machine to machine), and a line of the page."""
    (file,) = train_zoo([name], tmp_path, checkpoints=tmp_path)
    again, committed = load(file), load(paths.MODELS / f"{name}.npz")
    assert again.sizes == committed.sizes
    assert RECIPES[name].test(again) == pytest.approx(RECIPES[name].test(committed), abs=0.02)
    assert (tmp_path / "README.md").read_text() == RECIPES[name].row(again) + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", name.split("/")[0]]


def test_lines_are_renewed_in_their_place(tmp_path):
    """What stands around a line stays."""
    page = tmp_path / "README.md"
    page.write_text("before\n| `spheres/relu-10` | old |\nafter\n")
    train_zoo(["spheres/relu-10"], tmp_path, checkpoints=tmp_path)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[2], len(lines)) == ("before", "after", 3) and "old" not in lines[1]


def test_weights_are_stored_as_the_recipe_says(tmp_path, monkeypatch):
    """In half precision for the tightness experiments, and the network of the page is what the file says."""
    recipe = RECIPES["mnist/fc-small-natural"]
    trained = FeedForward.dense([np.full((2, 3), 1 / 3)], [np.zeros(2)])
    tried = []

    def test(network: FeedForward) -> float:
        tried.append(network)
        return 1.0

    fake = replace(recipe, train=lambda *_: trained, printed=lambda *_: trained, test=test)
    monkeypatch.setattr("tightrope.training.recipes.RECIPES", {recipe.name: fake})
    (file,) = train_zoo([recipe.name], tmp_path, printed=True, checkpoints=tmp_path)
    assert load(file).layers[0].weight[0, 0] == np.float16(1 / 3) == tried[0].layers[0].weight[0, 0]


def test_unknown_names_and_networks_without_a_printed_recipe(tmp_path):
    """Before anything is trained."""
    with pytest.raises(UnknownNameError, match="digits/relu-16"):
        train_zoo(["digits/relu-16", "digits/relu-17"], tmp_path)
    with pytest.raises(InputError, match="digits/relu-16 has one recipe only"):
        train_zoo(["digits/relu-16"], tmp_path, printed=True)
    assert not list(tmp_path.iterdir())


def test_the_command_lists_all_that_data_models_holds():
    """Recipes, and reasons."""
    result = CliRunner().invoke(cli.main, ["train-zoo", "--list"])
    assert result.exit_code == 0
    assert [line.split(":")[0] for line in result.output.splitlines()] == [*RECIPES, *WITHOUT_RECIPE]
