"""The command line: its output is a contract, and every mistake is one line and exit code 2."""

import json

import pytest
import torch
from click.testing import CliRunner

from tightrope import datasets, paths, zoo
from tightrope.cli import main
from tightrope.verifiers import relu_lipschitz, robustness
from tightrope.workbench import published
from tightrope.workbench.compare import AGREEMENTS

NETWORK = next(name for name in zoo.names() if name.startswith("digits/"))
CERTIFY = ("certify", "--network", NETWORK, "--image", "digits:0", "--norm", "inf", "--epsilon-pixel", "0.01")


def call(*arguments):
    """Run the command and return its result."""
    return CliRunner().invoke(main, arguments)


def changed(name, value):
    """CERTIFY with one option changed."""
    arguments = list(CERTIFY)
    arguments[arguments.index(name) + 1] = value
    return arguments


def test_list_json_has_the_stable_keys():
    """One object per result of the four papers."""
    entries = json.loads(call("list", "--json").stdout)
    assert len(entries) == len(published.results())
    assert all({"paper", "result", "notebook", "profiles"} <= set(entry) for entry in entries)
    table = next(entry for entry in entries if entry["result"] == "table-2-certified-ratio")
    assert table["notebook"] == "notebooks/chen2021-mondeq/table-2-certified-ratio.ipynb"
    assert set(table["profiles"]) <= {"quick", "paper"}


def test_list_names_every_result():
    """Also those without a notebook."""
    text = call("list").stdout
    assert all(result.name in text for result in published.results())


def test_compare_json_has_the_stable_keys():
    """Exactly these, in this order, one object per printed number."""
    lines = json.loads(call("compare", "--json").stdout)
    keys = ["paper", "result", "cell", "kind", "printed", "reproduced", "agreement", "reason", "profile"]
    assert all(list(line) == keys for line in lines)
    assert {line["agreement"] for line in lines} <= set(AGREEMENTS)
    assert {line["result"] for line in lines} == {result.name for result in published.results()}
    assert all(line["reason"] for line in lines if line["agreement"] == "not run")


def test_compare_one_result():
    """Its cells only."""
    lines = json.loads(call("compare", "figure-2-adversarial-example", "--json").stdout)
    assert [line["cell"] for line in lines] == ["figure-2/label", "figure-2/attacks-found"]


def test_certify_json():
    """Per label: bound, verdict, seconds, solver, gap."""
    done = call(*CERTIFY, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["verdict"] == "certified"
    assert (answer["norm"], answer["epsilon_pixel"], answer["clip"]) == ("inf", 0.01, False)
    assert len(answer["labels"]) == 9
    for label in answer["labels"]:
        assert {"label", "bound", "verdict", "seconds", "solver", "gap"} <= set(label)
        assert label["verdict"] == "certified" and label["bound"] < 0


def test_certify_one_label():
    """Only the label asked for is decided."""
    true = json.loads(call(*CERTIFY, "--json").stdout)["label"]
    other = (true + 1) % 10
    answer = json.loads(call(*CERTIFY, "--label", str(other), "--clip", "--json").stdout)
    assert answer["clip"] is True
    assert [label["label"] for label in answer["labels"]] == [other]
    text = call(*CERTIFY, "--label", str(other)).stdout
    assert "certified" in text


OWN = ("certify", "--network", "data/models/elsewhere/digits-mlp.pt")


def test_certify_a_network_of_ones_own(monkeypatch):
    """A torch file, pixels as they are; the labels that linear bounds decide say so."""
    monkeypatch.chdir(paths.ROOT)
    image = ("--image", "digits:0", "--epsilon-pixel", "0.05", "--clip", "--json")
    answer = json.loads(call(*OWN, *image, "--normalisation", "none").stdout)
    assert answer["verdict"] == "certified" and answer["normalisation"] == [0.0, 1.0] and answer["norm"] == "inf"
    assert {label["method"] for label in answer["labels"]} <= {"box", "crown", "deepz", "cascade"}
    assert json.loads(call(*OWN, *image).stdout)["normalisation"] == [
        0.3052,
        0.3763,
    ]  # the data set's, if nothing is said
    only = json.loads(call(*OWN, *image, "--normalisation", "0,1", "--method", "crown").stdout)
    assert {label["method"] for label in only["labels"]} <= {"crown", "attack"}
    text = call(*OWN, *image[:-1], "--normalisation", "0,1", "--method", "milp", "--label", "1").stdout
    assert "computed" in text and "highs" in text and "certified" not in text


def test_certify_a_property(tmp_path, monkeypatch):
    """Holds, does not hold with a counterexample, and the mistakes."""
    monkeypatch.chdir(paths.ROOT)
    declared = "".join(f"(declare-const X_{i} Real)" for i in range(64)) + "".join(
        f"(declare-const Y_{i} Real)" for i in range(10)
    )
    box = "".join(f"(assert (<= X_{i} 0.01)) (assert (>= X_{i} 0))" for i in range(64))
    file = tmp_path / "small.vnnlib"
    file.write_text(declared + box + "(assert (>= Y_0 1000))")
    answer = json.loads(call(*OWN, "--property", str(file), "--json").stdout)
    assert (answer["verdict"], answer["cases"], answer["counterexample"]) == ("certified", ["certified"], None)
    assert "certified" in call(*OWN, "--property", str(file)).stdout
    file.write_text(declared + box + "(assert (<= Y_0 1000))")
    done = call(*OWN, "--property", str(file), "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["verdict"]) == (1, "falsified")
    assert len(answer["counterexample"]) == 64 and len(answer["outputs"]) == 10
    text = call(*OWN, "--property", str(file)).stdout
    assert "X_63=" in text and "Y_9=" in text
    for arguments, message in (
        ((*OWN, "--property", str(file), "--image", "digits:0"), "--image: a property has its own region"),
        ((*OWN, "--property", str(tmp_path / "absent.vnnlib")), "no file"),
        ((*OWN, "--image", "digits:0"), "--epsilon-pixel"),
        ((*OWN, "--image", "digits:0", "--epsilon-pixel", "0.1", "--normalisation", "x"), "MEAN,STD"),
        ((*OWN, "--property", str(file), "--method", "box", "--norm", "2"), "--norm, --method: a property has its own"),
        ((*OWN, "--image", "digits:0", "--epsilon-pixel", "0.1", "--activation", "sine"), "unknown activation"),
        (("certify", "--network", "digits/mondeq-16", "--property", str(file)), "FeedForward"),
        (("certify", "--network", "digits/mondeq-16", "--image", "digits:0", "--epsilon-pixel", "0.1", "--method",
          "crown"), "unknown method"),
    ):  # fmt: skip
        done = call(*arguments)
        assert done.exit_code == 2 and message in done.stderr, done.output


def test_the_competitions_form(tmp_path, monkeypatch):
    """`vnnlib`: unsat, sat with a point, and timeout are answers; exit code 0 whenever one was written."""
    monkeypatch.chdir(paths.ROOT)
    names = [*(f"X_{i}" for i in range(64)), *(f"Y_{i}" for i in range(10))]
    head = "".join(f"(declare-const {name} Real)" for name in names)
    head += "".join(f"(assert (<= X_{i} 0.01)) (assert (>= X_{i} 0))" for i in range(64))
    file, results = tmp_path / "small.vnnlib", tmp_path / "results.txt"
    for formula, answer in (("(>= Y_0 1000)", "unsat"), ("(<= Y_0 1000)", "sat")):
        file.write_text(head + f"(assert {formula})")
        done = call("vnnlib", OWN[2], str(file), str(results), "--time-limit", "30")
        assert done.exit_code == 0 and done.stdout.strip() == answer
        first, *point = results.read_text().splitlines()
        assert first == answer
    assert point[0].startswith("((X_0 ") and point[-1].startswith("(Y_9 ") and len(point) == 74
    assert call("vnnlib", OWN[2], str(tmp_path / "absent"), str(results)).exit_code == 2


def test_a_tree_that_its_time_limit_ends_goes_on_with_a_larger_one(tmp_path):
    asked = ("certify", "--network", "digits/mondeq-16", "--image", "digits:0", "--epsilon-pixel", "0.04")
    asked += ("--label", "1", "--method", "branch-and-bound", "--trees", str(tmp_path))
    assert call(*asked, "--time-limit", "1e-6").exit_code == 3
    assert len(list(tmp_path.iterdir())) == 1
    assert call(*asked).exit_code == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "table-2-certified-ratios"), "Did you mean"),
        (("run",), "name a result"),
        (("run", "table-2-certified-ratio", "-p", "imagse", "3"), "images"),
        (("run", "table-2-certified-ratio", "--limit", "0"), "limit"),
        (("compare", "table-7"), "unknown result"),
        (changed("--network", "digits/nothing"), "unknown network"),
        (changed("--image", "digits:100000"), "out of range"),
        (changed("--image", "digits"), "SET:INDEX"),
        (changed("--image", "nothing:0"), "unknown data set"),
        (changed("--norm", "0.5"), "norm"),
        (changed("--norm", "max"), "norm"),
        (changed("--epsilon-pixel", "-0.1"), "epsilon_pixel"),
        (changed("--epsilon-pixel", "nan"), "epsilon_pixel"),
        ((*CERTIFY, "--label", "10"), "label"),
        ((*CERTIFY, "--method", "simplex"), "unknown method"),
        ((*CERTIFY, "--method", "scs", "--incomplete"), "--incomplete: only the cascade"),
        ((*CERTIFY, "--order", "3"), "unknown order '3'"),
        ((*CERTIFY, "--method", "scs", "--order", "1+cuts"), "order: 1+cuts goes with"),
        ((*CERTIFY, "--method", "scs", "--trees", "kept"), "--trees: this method grows no tree"),
        ((*CERTIFY, "--incomplete", "--trees", "kept"), "--trees: this method grows no tree"),
        ((*CERTIFY, "--trees", f"{__file__}/kept"), "cannot be written"),
        ((*CERTIFY, "--activation", "relu"), "states its own"),
        (("vnnlib", "net.onnx", "asked.vnnlib", "asked.vnnlib"), "one of the files that are read"),
        (("verify", "image.cert", "--sample", "3"), "--sample: it goes with --result"),
        (("train-zoo", "--list", "digits/relu-16"), "--list trains nothing"),
        (("run", "table-2"), "or 'chen2021-mondeq/table-2-certified-ratio'"),
        (("run", "--all", "figure-1-relations"), "--all"),
        (("compare", "--all", "figure-1-relations"), "--all"),
        (("compare", "--json", "--markdown"), "one of them"),
        (("run", "figure-1-relations", "table-4-cr-auc", "-p", "foo", "3"), "parameter of figure-1-relations: 'foo'"),
        (("run", "table-8-mnist-fc", "-p", "networks", "[digits/fc-natural]"), "must end with how it was trained"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message):
    """No traceback, and the line says what to write instead."""
    done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("radius", "more", "verdict", "code"),
    [
        ("0.01", (), "certified", 0),
        ("0.3", (), "falsified", 1),
        ("0.1", ("--method", "box", "--label", "1"), "unknown", 3),
    ],
)
def test_the_exit_code_of_certify_is_the_verdict(radius, more, verdict, code):
    """As `certify --help` says; what is computed only is not certified."""
    done = call("certify", "--network", "digits/relu-16", "--image", "digits:0", "--epsilon-pixel", radius, *more)
    assert (done.exit_code, done.stdout.splitlines()[0].split(": ")[-1]) == (code, verdict), done.output


def test_what_is_assumed_of_a_state_dictionary_is_said(monkeypatch):
    """On stderr, below the verdict and in JSON; nothing once the activation is given."""
    monkeypatch.chdir(paths.ROOT)
    image = ("--image", "digits:0", "--epsilon-pixel", "0.01")
    done = call(*OWN, *image)
    assert "assumed ReLU between the layers 64 -> 32 -> 10" in done.stderr and "\nassumed: ReLU" in done.stdout
    assert "ReLU" in json.loads(call(*OWN, *image, "--json").stdout)["assumed"]
    said = call(*OWN, *image, "--activation", "relu")
    assert said.stderr == "" and "assumed" not in said.stdout


def test_what_a_state_dictionary_does_not_state_is_an_option(tmp_path, monkeypatch):
    """m of a monDEQ, the images of its convolutions, stride and padding of others; what would do nothing is refused."""
    from tests.networks.test_convolutional_mondeq import single

    image = ("--image", "digits:0", "--epsilon-pixel", "0.0001", "--json")
    monkeypatch.chdir(paths.ROOT)
    deq, conv, dense_deq = (str(tmp_path / name) for name in ("deq.pt", "conv.pt", "dense.pt"))
    layer = {f"mon.linear_module.{name}.weight": torch.eye(2) for name in "AB"}
    layer |= {"mon.linear_module.U.weight": torch.ones(2, 64), "mon.linear_module.U.bias": torch.ones(2)}
    torch.save(layer | {"Wout.weight": torch.ones(10, 2), "Wout.bias": torch.ones(10)}, dense_deq)
    torch.save(single(0, 1, 1, 8, classes=10), deq)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, stride=2, padding=1), torch.nn.Flatten(), torch.nn.Linear(32, 10)
    )
    torch.save(module.state_dict(), conv)
    images = ("--input-shape", "1", "8", "8")
    certify = ("certify", "--method", "shor", "--label", "1", *image)
    answer = json.loads(call(*certify, "--network", deq, "--m", "0.7", *images).stdout)
    assert [one["label"] for one in answer["labels"]] == [1]
    layers = ("certify", "--network", conv, "--method", "box", "--activation", "relu", *images)
    assert json.loads(call(*layers, "--convolution", "2", "1", *image).stdout)["labels"]
    for arguments, message in (
        ((*certify, "--network", deq), "Give m=... or --m"),
        ((*certify, "--network", deq, "--m", "0.7"), "input_shape=(channels, height, width), or --input-shape"),
        ((*certify, "--network", deq, "--m", "0.7", "--input-shape", "1", "4", "16"), "images of digits have 1 8 8"),
        (
            (*certify, "--network", dense_deq, "--m", "0.7", *images),
            "(--input-shape): the state dictionary has no convolutions",
        ),
        ((*OWN, *images, *image), "--input-shape: data/models"),
        ((*layers, *image), "or --input-shape and one --convolution for each"),
        ((*layers, "--convolution", "2", "1", "--m", "1", *image), "--m: "),
        ((*certify, "--network", deq, "--m", "0.7", *images, "--convolution", "1", "1"), "--convolution: "),
        ((*CERTIFY, "--m", "1"), "states its own, or has none"),
    ):
        done = call(*arguments)
        assert done.exit_code == 2 and message in done.stderr, done.output


def test_networks_and_methods_are_listed():
    """With what has to be done to have them; every method of `certify` and of constants."""
    found = json.loads(call("networks", "--json").stdout)
    assert [line["network"] for line in found] == list(zoo.names())
    assert all((line["status"] == "available") == zoo.available(line["network"]) for line in found if line["images"])
    assert {line["status"] for line in found} <= {"available", "to fetch", "to provide"}
    assert {line["images"] for line in found} <= {"", *datasets.NORMALISATIONS}
    assert "digits/relu-16" in call("networks").stdout
    words = call("methods").stdout.split()
    assert {*robustness.METHODS, *relu_lipschitz.METHODS} <= set(words)


@pytest.mark.parametrize(("written", "meant"), [("LP-ALL", "lp-all"), ("lp_all", "lp-all"), ("CROWN-IBP", "crown_ibp")])
def test_methods_are_written_as_one_likes(written, meant):
    """As the papers write them, with hyphens or underscores; the answer has the name that rows have."""
    question = ("certify", "--network", "digits/relu-16", "--image", "digits:0", "--epsilon-pixel", "0.005", "--json")
    assert json.loads(call(*question, "--method", written).stdout)["method"] == meant


def test_certify_help_lists_every_method():
    """All that `robustness.methods` knows, and what --json does."""
    text = "".join(call("certify", "--help").stdout.split())  # lines break at hyphens
    listed = text[text.index("METHODis") : text.index("Case,hyphens")]
    assert all(method in listed for method in robustness.methods(zoo.get("digits/relu-16").network))
    assert "Oneobject:question" in text


@pytest.mark.parametrize(
    ("method", "radius", "words"),
    [
        ("crown", "0.01", "F_1 - F_0 <= -"),
        ("crown", "0.2", "at a point"),
        ("cascade", "0.01", "F_1 - F_0 <= -"),
        ("cascade", "0.08", "as a monDEQ"),
        ("lp-all", "0.05", "F_1 - F_0 <= -"),
        ("branch-and-bound", "0.08", " leaves"),
    ],
)
def test_what_is_proven_of_a_feed_forward_network_is_a_file(tmp_path, method, radius, words):
    """Bounds of every label, or an attack."""
    file = str(tmp_path / "image.cert")
    question = ["certify", "--network", "digits/fc-natural", "--image", "digits:0", "--epsilon-pixel", radius]
    done = CliRunner().invoke(main, [*question, "--method", method, "--certificate", file])
    assert done.exit_code == ("point" in words), done.output
    checked = CliRunner().invoke(main, ["verify", file])
    assert checked.exit_code == 0 and words in checked.output and "REFUSED" not in checked.output
    assert checked.output.count(" - F_0 <= -") == (9 if "point" not in words else 0)


def test_the_file_of_a_relaxation_of_layers_as_a_mondeq_says_so(tmp_path, monkeypatch):
    """It is found among the networks of the zoo and what they are as monDEQs, or named; another's is neither."""
    file = str(tmp_path / "image.cert")
    question = ["certify", "--network", "digits/relu-16", "--image", "digits:0", "--epsilon-pixel", "0.01"]
    done = CliRunner().invoke(main, [*question, "--method", "shor", "--label", "3", "--certificate", file])
    assert done.exit_code == 0, done.output
    for named in ((), ("--network", "digits/relu-16")):
        checked = CliRunner().invoke(main, ["verify", file, *named])
        assert checked.exit_code == 0 and "as a monDEQ" in checked.output
        assert "PROVEN (exact)  F_3 - F_0" in checked.output
    monkeypatch.setattr(zoo, "names", lambda: ("digits/relu-16",))
    monkeypatch.setattr(zoo, "available", lambda name: False)
    unknown = CliRunner().invoke(main, ["verify", file])
    assert unknown.exit_code == 2 and "name it by --network" in unknown.output


def test_a_property_and_what_is_only_computed_have_no_certificate_file(tmp_path):
    """One line each, which says why."""
    file = str(tmp_path / "image.cert")
    question = ["certify", "--network", "digits/relu-16", "--image", "digits:0", "--epsilon-pixel", "0.01"]
    computed = CliRunner().invoke(main, [*question, "--method", "milp", "--label", "3", "--certificate", file])
    assert computed.exit_code == 2 and "nothing is proven of these labels" in computed.output
    asked = CliRunner().invoke(main, [*question[:3], "--property", "any.vnnlib", "--certificate", file])
    assert asked.exit_code == 2 and "a property has no certificate file" in asked.output
