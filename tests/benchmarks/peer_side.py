"""One verifier asked one question: `python peer_side.py PEER NETWORK PROPERTY RESULTS SECONDS [CLONES]`.

It runs in the peer's own environment (:mod:`tests.benchmarks.peers` makes it), so that it imports nothing but the peer.
NETWORK is an ONNX file and PROPERTY a VNN-LIB file; RESULTS gets sat, unsat, unknown or timeout, after sat with the
counterexample's inputs, as VNN-COMP asks. CLONES is the folder of the peers' repositories.
"""

import json
import runpy
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

#: Inputs up to which alpha-beta-CROWN is told to split them, as its settings for ACAS Xu do; batches for a CPU.
FEW = 12
SPLIT_INPUTS = {
    "solver": {"batch_size": 1024, "bound_prop_method": "crown"},
    "bab": {
        "branching": {"method": "naive", "input_split": {"enable": True, "reorder_bab": True}},
        "clip_n_verify": {"clip_input_domain": {"enabled": True}},
    },
}
#: auto_LiRPA alone: alpha-CROWN's bounds, without attacks and without branching.
BOUNDS_ONLY = {"general": {"complete_verifier": "skip"}, "attack": {"pgd_order": "skip"}}


def answer(word: str, point=()) -> str:
    """Return the text of RESULTS."""
    return "\n".join([word, *(f"(X_{i} {float(value)!r})" for i, value in enumerate(point))]) + "\n"


def marabou(network: str, question: str, results: Path, seconds: float, clones: str) -> None:
    """Marabou's own reader of both files; its point is rounded to its bounds' tolerance."""
    from maraboupy import Marabou

    asked = Marabou.read_onnx(network)
    options = Marabou.createOptions(verbosity=0, timeoutInSeconds=int(seconds))
    word, values, _ = asked.solve(propertyFilename=question, options=options, verbose=False)
    known = {"sat": "sat", "unsat": "unsat", "TIMEOUT": "timeout"}
    inputs = asked.inputVars[0].flatten() if word == "sat" else ()
    results.write_text(answer(known.get(word, "unknown"), [values[i] for i in inputs]))


def nnenum(network: str, question: str, results: Path, seconds: float, clones: str) -> None:
    """nnenum's command, in one process of its own; the point is what its last enumeration found."""
    import nnenum.nnenum as front

    found, enumerate_network = [], front.enumerate_network
    front.enumerate_network = lambda *asked: found.append(enumerate_network(*asked)) or found[-1]
    said = results.with_suffix(".nnenum")
    sys.argv = ["nnenum", network, question, str(seconds), str(said), "1"]
    front.main()
    word = {"holds": "unsat", "violated": "sat", "timeout": "timeout"}.get(said.read_text(), "unknown")
    results.write_text(answer(word, list(found[-1].cinput) if word == "sat" else ()))


def crown(
    network: str, question: str, results: Path, seconds: float, clones: str, settings: dict | None = None
) -> None:
    """alpha-beta-CROWN's command on the CPU, which writes RESULTS itself."""
    import onnx

    for name in ("", ".datasets", ".io", ".ops", ".transforms"):  # for images only; its wheels are of torch with CUDA
        sys.modules[f"torchvision{name}"] = MagicMock(__path__=[])
    import onnx2pytorch

    class Convert(onnx2pytorch.ConvertModel):
        """The released package for its authors' fork, whose `quirks` are for files that are not asked here."""

        def __init__(self, *model, quirks=None, **options):
            super().__init__(*model, **options)

    onnx2pytorch.ConvertModel = Convert
    shape = [d.dim_value for d in onnx.load(network).graph.input[0].type.tensor_type.shape.dim]
    chosen = dict(settings or (SPLIT_INPUTS if max(shape) <= FEW else {}))
    if len(shape) == 1:  # no batch dimension: VNN-COMP's test networks, for which it has a loader
        loader = 'Customized("custom_model_loader", "customized_TEST_loader")'
        chosen["model"] = {"onnx_loader": loader, "input_shape": [-1, *shape]}
    config = results.with_suffix(".yaml")
    config.write_text(json.dumps(chosen | {"general": {"conv_mode": "matrix"} | chosen.get("general", {})}))
    folder = Path(clones) / "alpha-beta-CROWN" / "complete_verifier"
    sys.path[:0] = [str(folder), str(Path(clones) / "auto_LiRPA")]
    sys.argv = ["abcrown.py", "--config", str(config), "--device", "cpu", "--root_path", "", "--save_adv_example"]
    sys.argv += ["--onnx_path", network, "--vnnlib_path", question]
    sys.argv += ["--results_file", str(results), "--timeout", str(seconds)]
    runpy.run_path(str(folder / "abcrown.py"), run_name="__main__")


def lirpa(network: str, question: str, results: Path, seconds: float, clones: str) -> None:
    """alpha-CROWN of auto_LiRPA, by alpha-beta-CROWN's reader of both files."""
    crown(network, question, results, seconds, clones, BOUNDS_ONLY)


def highs(network: str, question: str, results: Path, seconds: float, clones: str) -> None:
    """The mixed-integer program by HiGHS, case by case, in the project's environment: the solver's word, no proof."""
    from tightrope.networks import load
    from tightrope.properties import read_vnnlib
    from tightrope.question import Limits, Question, Verdict
    from tightrope.verifiers.mixed_integer import mixed_integer
    from tightrope.verifiers.properties import slacks, smallest

    began, asked, word, point = time.monotonic(), load(network), "unsat", ()
    for case in read_vnnlib(question).cases:
        left = max(1.0, seconds - (time.monotonic() - began))
        least = smallest(slacks(asked, case), case.region) if len(case.b) else None
        found = least and mixed_integer(Question(least, case.region, 0, [1]), Limits(time=left))
        if found and found.verdict is Verdict.FALSIFIED:
            word, point = "sat", found.attack.point
            break
        word = word if found and found.verdict is Verdict.COMPUTED else "unknown"
    results.write_text(answer(word, point))


PEERS = {"Marabou": marabou, "nnenum": nnenum, "alpha-beta-CROWN": crown, "auto_LiRPA": lirpa, "HiGHS": highs}

if __name__ == "__main__":
    peer, model, vnnlib, target, limit, *where = sys.argv[1:]
    PEERS[peer](model, vnnlib, Path(target), float(limit), *(where or [""]))
