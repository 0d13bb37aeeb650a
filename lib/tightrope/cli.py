"""The command `tightrope`; `tightrope --help` lists what it does.

Every error that a user can cause is one line on stderr and exit code 2.
"""

import json
import math
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tightrope import __version__, paths
from tightrope.errors import AssumptionWarning, InputError, TightropeError
from tightrope.verifiers.methods import METHODS, known_method, methods
from tightrope.workbench import published
from tightrope.workbench.tables import Table

if TYPE_CHECKING:
    from tightrope.verifiers.properties import PropertyReport
    from tightrope.verifiers.report import Report
    from tightrope.zoo import Entry


# A command imports what it needs by itself, so that `--help` and a mistake are answered at once.


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)


class _Commands(click.Group):
    """A group whose commands turn a named error into one line and exit code 2."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except TightropeError as error:
            _fail(str(error))
            context.exit(2)
        except BrokenPipeError:  # whoever reads has read enough; Click ends quietly
            raise
        except OSError as error:
            where = "" if error.filename is None else f"{error.filename}: "
            _fail(f"{where}{error.strerror or error}")
            context.exit(2)
        except KeyboardInterrupt as stop:
            from tightrope.workbench.batch import STOPPED

            click.echo(" ".join(["Stopped.", *str(stop).split()]), err=True)
            context.exit(STOPPED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tightrope")
def main() -> None:
    """Certified robustness of neural networks by convex relaxations: the papers' results, reproduced."""


_RESULTS = click.argument("names", metavar="[RESULT]...", nargs=-1)
_PROFILE = click.Choice(published.PROFILES)
_KIND = click.option("--kind", metavar="KIND", help="Only these rows of the results, such as table-1-semidefinite.")
_SECONDS = click.FloatRange(min=0, min_open=True)


# ------------------------------------------------------------------------------------------------ results


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="One object per result.")
def list_(as_json: bool) -> None:
    """List every table and figure of the papers, and which profiles have rows."""
    from tightrope.workbench.records import Store

    results = published.results()
    with Store(read_only=True) as store:
        profiles = [
            [p for p in published.PROFILES if one.runnable and store.rows(one.name, p, one.paper)] for one in results
        ]
    if as_json:
        entries = [
            {
                "paper": one.paper,
                "result": one.name,
                "notebook": one.notebook.relative_to(paths.ROOT).as_posix() if one.runnable else None,
                "profiles": have,
                "number": one.number,
                "title": one.title,
                "kind": one.kind,
                "status": "ready" if one.runnable else "not run",
                "reason": "" if one.runnable else one.not_run or "its notebook does not exist",
            }
            for one, have in zip(results, profiles, strict=True)
        ]
        _print_json(entries)
        return
    lines = [
        (one.paper, one.number, one.name, ", ".join(have) or ("" if one.runnable else "not run"), one.title)
        for one, have in zip(results, profiles, strict=True)
    ]
    click.echo(Table(("paper", "number", "result", "rows", "title"), tuple(lines)))


@main.command()
@_RESULTS
@click.option("--all", "everything", is_flag=True, help="Every result that has a notebook.")
@click.option("--profile", type=_PROFILE, default="quick", show_default=True)
@click.option("-p", "pairs", type=(str, str), multiple=True, metavar="NAME VALUE", help="A notebook parameter.")
@click.option("--limit", type=int, metavar="N", help="At most N images.")
@click.option("--force", is_flag=True, help="Execute notebooks that are up to date; solved cases are kept.")
@click.option("--fresh", is_flag=True, help="Solve every case again.")
@click.option("--jobs", type=int, metavar="N", help="Solve cases in N processes first; N notebooks at a time.")
@click.option("--scheduler", metavar="ADDRESS", help="The same on the workers of a Dask scheduler: tcp://host:8786.")
def run(
    names: tuple[str, ...],
    everything: bool,
    profile: str,
    pairs: tuple[tuple[str, str], ...],
    limit: int | None,
    force: bool,
    fresh: bool,
    jobs: int | None,
    scheduler: str | None,
) -> None:
    """Execute the notebooks of results; what is solved is kept, what is up to date is skipped.

    As many notebooks run at a time as there are processors, but at most 8; --jobs 1 runs one after the other.

    A run that is stopped (Ctrl-C), or killed, continues where it was when it is started again; leave out --fresh then.
    """
    from tightrope.workbench import batch, runner

    results = _chosen(names, everything)
    changes = runner.parse_parameters(pairs)
    runs = [runner.prepare(result, profile, changes, limit) for result in results]  # all bad input, before any solve
    failures = batch.run(runs, force=force, fresh=fresh, jobs=jobs, scheduler=scheduler)
    for one in runs:
        click.echo(f"{one.result.name}: {one.output.relative_to(paths.ROOT)}")
    for error in failures:
        _fail(str(error))
    if failures:
        sys.exit(1)


@main.command()
@_RESULTS
@click.option("--json", "as_json", is_flag=True, help="One object per printed number.")
@click.option(
    "--markdown", is_flag=True, help="Verdicts by result, as the README shows them, or a paper's, with its key."
)
@click.option("--all", "everything", is_flag=True, help="Include the results that have no notebook yet.")
def compare(names: tuple[str, ...], as_json: bool, markdown: bool, everything: bool) -> None:
    """Put each printed number beside ours; of results, or of a paper by its key."""
    from tightrope.workbench import compare as comparing
    from tightrope.workbench.records import Store

    if as_json and markdown:
        raise InputError("json, markdown: write one of them")
    results = _chosen(names, everything or not names, runnable=False)
    with Store(read_only=True) as store:
        lines = comparing.compare(results, store)
        if markdown:
            table = comparing.paper_table(results, lines, store) if names else comparing.summary_table(lines)
            click.echo(table.to_markdown())
            return
    if as_json:
        _print_json([line.as_dict() for line in lines])
        return
    waiting = {result.key for result in results if not (result.runnable or names or everything)}
    lines = [line for line in lines if line.result.key not in waiting]
    click.echo(comparing.comparison_table(lines))
    click.echo()
    for number, reason in enumerate(comparing.reasons(lines), 1):
        click.echo(f"({number}) {reason}")
    counts = {word: sum(line.agreement == word for line in lines) for word in comparing.AGREEMENTS}
    click.echo("\n" + ", ".join(f"{count} {word}" for word, count in counts.items() if count))
    if waiting:
        click.echo(f"{len(waiting)} results have no notebook yet; `tightrope list` names them.")


@main.command()
@click.option("--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Default: figures/site.")
def report(output: Path | None) -> None:
    """Write a static site with every printed number beside ours; it opens from disk."""
    from tightrope import report as reporting

    site = reporting.write(output)
    click.echo(", ".join(f"{count} {word}" for word, count in site.counts.most_common()))
    click.echo(f"{site.index}: {site.pages} pages, {site.size / 1e6:.1f} MB")
    if not site.api:
        click.echo(reporting.NO_API)


@main.command("certificates")
@_RESULTS
@click.option("--profile", type=_PROFILE, default="paper", show_default=True)
@_KIND
@click.option("--sample", type=int, metavar="N", help="At most N rows of these results, drawn by --seed; 0 for none.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--jobs", type=int, default=1, show_default=True, metavar="N", help="Solve in N processes.")
@click.option("--archive", type=click.Path(path_type=Path), metavar="FILE.tar", help="Pack the files for a release.")
def certificates_(
    names: tuple[str, ...],
    profile: str,
    kind: str | None,
    sample: int | None,
    seed: int,
    jobs: int,
    archive: Path | None,
) -> None:
    """Write the certificates of certified rows that have none, and put their SHA-256 into the rows.

    The cases are asked again; nothing else about a row changes. What is stopped continues with the same command. Files
    are written to the folder TIGHTROPE_CERTIFICATES, or to this user's cache.
    """
    from tightrope.workbench import proving
    from tightrope.workbench.records import Store

    results = _chosen(names, not names)
    with Store() as store:
        done = proving.prove(results, profile, store, only=kind, sample=sample, seed=seed, jobs=jobs, say=click.echo)
        rows = proving.provable(store, results, profile, kind)
    have = [row for row in rows if row.get(proving.COLUMN)]
    click.echo(f"{done.proven} certificates added, {done.refused} refused; {len(have)} of {len(rows)} rows have one")
    if archive is not None:
        click.echo(f"{archive}: {proving.archive(have, archive)} files")
    if done.refused:
        sys.exit(1)


# ------------------------------------------------------------------------------------------------ one network


def _written(names: Iterable[str]) -> str:
    """Methods with what is to be said of them."""
    methods = (METHODS[name] for name in names)
    return ", ".join(f"{method.name} ({method.about})" if method.about else method.name for method in methods)


_COMMON = methods()
_CERTIFY = f"""Decide whether a label is the same on a whole ball around an image, or whether a property holds.

METHOD is {_written(_COMMON)}; for feed-forward networks also
{_written(name for name in METHODS if name not in _COMMON)}. Case, hyphens and underscores make no difference: LP-ALL is
lp-all.

A property is of a feed-forward network.

Exit code 0: certified, 1: falsified, 3: neither is known, 2: an error.
"""
#: Exit codes of `certify` by verdict; all others are unknown.
_EXIT, _UNKNOWN = {"certified": 0, "falsified": 1}, 3
#: What a file may not state of its network itself, and the options of `certify` that go with a property.
_STATED = {
    "m": "--m",
    "activation": "--activation",
    "input_shape": "--input-shape",
    "convolutions": "--convolution",
}
_OF_PROPERTIES = ("network_name", "property_file", "time_limit", "as_json", *_STATED)


@main.command(help=_CERTIFY)
@click.option(
    "--network",
    "network_name",
    required=True,
    metavar="NAME|FILE",
    help="A name of the zoo (`tightrope networks`), or a .npz, .mat, .onnx, .onnx.gz, .pt or .pth file.",
)
@click.option("--image", "image_name", metavar="SET:INDEX", help="Test image, from 0: mnist:0, digits:3.")
@click.option("--norm", metavar="Q", default="inf", show_default=True, help="1, 2, inf or another order q >= 1.")
@click.option("--epsilon-pixel", type=float, metavar="R", help="Radius for pixels in [0, 1].")
@click.option("--clip/--no-clip", default=False, show_default=True, help="Cut the ball to the pixel range.")
@click.option(
    "--normalisation",
    metavar="MEAN,STD|none",
    help="From pixels to the network's input. By default what the zoo says; for a file, that of the data set.",
)
@click.option(
    "--activation", metavar="NAME", help="Between the layers of a state dictionary (.pt), which has none: relu."
)
@click.option("--m", type=float, metavar="M", help="Of a monDEQ in factors whose file does not state it.")
@click.option(
    "--input-shape",
    type=(int, int, int),
    metavar="CHANNELS HEIGHT WIDTH",
    help="Of the images, for a state dictionary with convolutions.",
)
@click.option(
    "--convolution",
    "convolutions",
    type=(int, int),
    multiple=True,
    metavar="STRIDE PADDING",
    help="Of each convolution of a state dictionary in order; write it once for each.",
)
@click.option("--label", type=int, metavar="J", help="Decide this label only, against the true one.")
@click.option("--method", default="cascade", show_default=True, metavar="METHOD")
@click.option(
    "--order",
    default="1",
    show_default=True,
    metavar="ORDER",
    help="Of Shor's relaxation in the cascade and interior-point: 1, 1+bounds, 1+cuts, or on tiny networks 2.",
)
@click.option("--incomplete", is_flag=True, help="Stop the cascade at the relaxation, before branch and bound.")
@click.option("--property", "property_file", metavar="FILE", help="A .vnnlib or .vnnlib.gz file instead of an image.")
@click.option(
    "--time-limit",
    type=_SECONDS,
    metavar="SECONDS",
    help="Of processor time for the whole property, or for the tree of each label.  [default: 60]",
)
@click.option(
    "--trees",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where a tree of branch and bound that its time limit ends is kept: the same command with a larger one goes "
    "on from there.",
)
@click.option("--certificate", "certificate_file", metavar="FILE", help="Write what is proven, for `tightrope verify`.")
@click.option("--json", "as_json", is_flag=True, help="One object: question, verdict, and the bound of each label.")
@click.pass_context
def certify(
    context: click.Context,
    network_name: str,
    image_name: str | None,
    norm: str,
    epsilon_pixel: float | None,
    clip: bool,
    normalisation: str | None,
    activation: str | None,
    m: float | None,
    input_shape: tuple[int, int, int] | None,
    convolutions: tuple[tuple[int, int], ...],
    label: int | None,
    method: str,
    order: str,
    incomplete: bool,
    property_file: str | None,
    time_limit: float | None,
    trees: Path | None,
    certificate_file: str | None,
    as_json: bool,
) -> None:
    """Answer `certify`."""
    named = dict(m=m, activation=activation, input_shape=input_shape, convolutions=convolutions)
    stated = {name: value for name, value in named.items() if value not in (None, ())}
    if property_file is not None:
        if certificate_file is not None:
            raise InputError("a property has no certificate file, which is about labels only: leave out --certificate")
        others = [name for name in context.params if name not in _OF_PROPERTIES]
        _refuse(context, others, "a property has its own region and way of proof; with --property leave it out")
        answer = _about_property(network_name, property_file, time_limit or 60.0, stated)
        asked = {"network": network_name, "property": property_file}
        context.exit(_answered(answer, asked if as_json else property_file))
    if image_name is None or epsilon_pixel is None:
        raise InputError("write --image and --epsilon-pixel, or --property")
    from tightrope import datasets, zoo
    from tightrope.question import Limits
    from tightrope.regions import pixel_ball
    from tightrope.verifiers import robustness
    from tightrope.verifiers.unfinished import writable_folder

    entry = _network(network_name, stated)
    network = entry.network
    chosen = known_method(network, method)
    if chosen.name != "cascade":
        _refuse(context, ["incomplete"], "only the cascade has branch and bound to leave out; leave it out")
    if not chosen.has_tree(network, not incomplete):
        _refuse(context, ["trees"], "this method grows no tree on this network; leave it out")
    dataset, _, number = image_name.partition(":")
    try:
        index = int(number)
    except ValueError:
        raise InputError(f"image: expected SET:INDEX such as mnist:0, got {image_name!r}") from None
    data = datasets.load(dataset)
    pixels, true = data.image(index), data.label(index)
    if pixels.size != network.input_size:
        raise InputError(
            f"network {network_name} takes {network.input_size} pixels, {image_name} has {pixels.size}; "
            "choose a network and a data set that go together"
        )
    shape = data.shape if len(data.shape) == 3 else (1, *data.shape)
    if input_shape is not None and input_shape != shape:
        raise InputError(f"--input-shape: the images of {data.name} have {' '.join(map(str, shape))}; write these")
    if label is not None and (not 0 <= label < network.classes or label == true):
        raise InputError(f"label: expected 0 to {network.classes - 1} and not the true label {true}, got {label}")
    scale = zoo.parse_normalisation(normalisation) or entry.normalisation or data.normalisation
    region = pixel_ball(pixels, norm, epsilon_pixel, scale, clip)
    targets = None if label is None else [label]
    limits, complete = Limits(time=time_limit, trees=trees), not incomplete
    how: dict[str, Any] = {"method": chosen.name, "order": order, "complete": complete, "limits": limits}
    if trees is not None:
        writable_folder(trees)  # before the solve
    report = robustness.certify(network, region, true, targets=targets, **how)
    if certificate_file is not None:
        proof = report.certificates()
        sha256 = proof.save(certificate_file)
        for finding in proof.findings:
            click.echo(finding, err=True)
        click.echo(f"{certificate_file}: SHA-256 {sha256}", err=True)
    asked = {"network": network_name, "network_sha256": network.sha256(), "image": f"{data.name}:{index}"}
    asked |= {"norm": "inf" if math.isinf(region.norm) else region.norm, "epsilon_pixel": epsilon_pixel}
    asked |= {"clip": clip, "normalisation": [scale.mean, scale.std]}
    context.exit(_answered(report, asked if as_json else f"{data.name}:{index}"))


def _answered(report: "Report", asked: dict | str) -> int:
    """Print a report, as JSON with the question or as text with its name, and return the exit code."""
    if isinstance(asked, dict):
        _print_json(asked | report.to_dict())
    else:
        click.echo(f"{asked}, {report}")
    return _EXIT.get(report.verdict.value, _UNKNOWN)


def _network(name: str, stated: Mapping[str, Any]) -> "Entry":
    """Return a network by its name or file, with what the file does not state; what is assumed is said on stderr."""
    from tightrope import zoo
    from tightrope.networks import MonDEQ

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        entry = zoo.get(name, **stated)
    if assumed := getattr(entry.network, "assumed", ""):
        click.echo(f"{name}: assumed {assumed}; --activation relu if that is so", err=True)
    network, dictionary = entry.network, name.lower().endswith((".pt", ".pth"))
    if isinstance(network, MonDEQ):
        used = {"m", "input_shape"}
    else:
        used = {"activation", "convolutions"} | (set() if network.is_dense else {"input_shape"})
    used &= set(_STATED) if dictionary else {"m"} if name.lower().endswith((".npz", ".mat")) else set()
    if unused := ", ".join(option for own, option in _STATED.items() if own in stated and own not in used):
        raise InputError(f"{unused}: {name} states its own, or has none; leave it out")
    return entry


def _refuse(context: click.Context, names: Iterable[str], reason: str) -> None:
    """Refuse the options among these parameters that were written, since they would do nothing."""
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if options := [option.opts[0] for option in context.command.params if option.name in given]:
        raise InputError(f"{', '.join(options)}: {reason}")


def _about_property(
    network_name: str, file: str, time_limit: float, stated: Mapping[str, Any] = MappingProxyType({})
) -> "PropertyReport":
    """Decide whether the network has the property of a file."""
    from tightrope.properties import read_vnnlib
    from tightrope.question import Limits
    from tightrope.verifiers.properties import certify_property

    return certify_property(_network(network_name, stated).network, read_vnnlib(file), Limits(time=time_limit))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One object per network.")
def networks(as_json: bool) -> None:
    """List the networks that have a name, the images that each is for, and whether both are here.

    available: on this machine. to fetch: `make data` does it. to provide: its images are in no registry; data/README.md
    says which files to put where. A file of one's own needs no name: `tightrope certify --network FILE`.
    """
    from tightrope import zoo

    found = [(name, zoo.dataset_of(name), zoo.status(name)) for name in zoo.names()]
    columns = ("network", "images", "status")
    if as_json:
        _print_json([dict(zip(columns, line, strict=True)) for line in found])
    else:
        click.echo(Table(columns, found))


@main.command("methods")
def methods_() -> None:
    """List the methods of `certify`, and those of `tightrope.lipschitz_bound`."""
    from tightrope.verifiers import relu_lipschitz

    yes = ("", "yes")
    known = [
        (m.name, yes[bool(m.mondeq)], yes[bool(m.layers)], ", ".join(m.orders), yes[m.boxes], m.about)
        for m in METHODS.values()
    ]
    click.echo(Table(("certify", "monDEQ", "feed-forward", "orders", "boxes only", "what it is"), known))
    click.echo()
    constants = [(name, method.side, method.about) for name, method in relu_lipschitz.METHODS.items()]
    click.echo(Table(("lipschitz_bound", "bounds from", "what it is (feed-forward networks, one output)"), constants))


@main.command()
@click.argument("network_name", metavar="NETWORK")
@click.argument("property_file", metavar="PROPERTY")
@click.argument("results", metavar="RESULTS", type=click.Path(dir_okay=False, writable=True))
@click.option("--time-limit", type=_SECONDS, default=60.0, show_default=True)
def vnnlib(network_name: str, property_file: str, results: str, time_limit: float) -> None:
    """Answer a property as the verification competition (VNN-COMP) asks: sat, unsat, unknown or timeout, in RESULTS.

    The property holds if the answer is unsat; sat is followed by the counterexample, whose decimals are exact. The time
    limit is in seconds of processor time. The exit code is 0 whenever RESULTS was written.
    """
    from tightrope.files import access, replace_text
    from tightrope.verifiers.properties import competition_text

    if Path(results).resolve() in (Path(network_name).resolve(), Path(property_file).resolve()):
        raise InputError(f"RESULTS: {results} is one of the files that are read; give another one.")
    with access(Path(results), "written"):
        Path(results).unlink(missing_ok=True)  # after an error nobody reads the answer to another question
    text = competition_text(_about_property(network_name, property_file, time_limit))
    replace_text(Path(results), text)
    click.echo(text.splitlines()[0])


@main.command()
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--network",
    "network_name",
    metavar="NAME|FILE",
    help="By default the network of the zoo whose SHA-256 the file states.",
)
@click.option(
    "--result", "results", multiple=True, metavar="RESULT", help="Check the certificates of its rows instead."
)
@click.option("--all", "everything", is_flag=True, help="Of the rows of every result.")
@click.option("--profile", type=_PROFILE, default="paper", show_default=True)
@_KIND
@click.option("--sample", type=int, metavar="N", help="At most N rows, drawn by --seed.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.pass_context
def verify(
    context: click.Context,
    files: tuple[str, ...],
    network_name: str | None,
    results: tuple[str, ...],
    everything: bool,
    profile: str,
    kind: str | None,
    sample: int | None,
    seed: int,
) -> None:
    """Check certificate files, or those of the rows of results, in exact arithmetic; nothing is solved.

    The file of a row must be the one whose SHA-256 the row has, and claim what the row says.

    Exit code 0 if every claim is proven, 1 if one is refused, 2 if a file is missing or no certificate file.
    """
    if results or everything:
        if files or network_name is not None:
            raise InputError("files, network: a result has its own; write FILE, or --result, not both")
        _verify_rows(results, everything, profile, kind, sample, seed)
        return
    if not files:
        raise InputError("files: name certificate files, or write --result RESULT or --all")
    rest = ["profile", "kind", "sample", "seed"]
    _refuse(context, rest, "it goes with --result or --all, not with files; leave it out")
    from tightrope import checker, proofs, zoo
    from tightrope.networks import FeedForward

    proven = readable = True
    network = None if network_name is None else zoo.get(network_name).network
    for file in files:
        try:
            certificates = checker.load(file)
        except checker.Unreadable as error:
            _fail(f"{file}: {error}")
            readable = False
            continue
        for certificate in certificates:
            own = network or proofs.find_network(certificate.network)
            if isinstance(own, FeedForward) and certificate.theory.startswith("mondeq"):
                own = own.to_mondeq()
                click.echo(f"{file}: about the network as a monDEQ, as it is for Shor's relaxation")
            for finding in checker.check(certificate, proofs.arrays_of(own)[1]):
                click.echo(f"{file}: {finding}")
                proven &= finding.proven
    sys.exit(2 if not readable else 0 if proven else 1)


def _verify_rows(
    names: tuple[str, ...], everything: bool, profile: str, kind: str | None, sample: int | None, seed: int
) -> None:
    """Answer `verify --result`."""
    from tightrope.workbench import proving
    from tightrope.workbench.records import Store

    if sample is not None and sample < 1:
        raise InputError(f"sample: expected at least 1, got {sample}")
    with Store(read_only=True) as store:
        rows = proving.provable(store, _chosen(names, everything), profile, kind)
    have = [row for row in rows if row.get(proving.COLUMN)]
    if not have:
        raise InputError(f"result: none of its {len(rows)} certified rows has a certificate; `tightrope certificates`")
    found = proving.check(proving.drawn(have, sample, seed), click.echo)
    proven = sum(not one.reason for one in found)
    click.echo(f"{proven} of {len(found)} certificates prove their rows; {len(have)} of {len(rows)} rows have one")
    sys.exit(2 if not all(one.readable for one in found) else 0 if proven == len(found) else 1)


@main.command("train-zoo")
@click.argument("names", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="List the networks and how each is trained; train nothing.")
@click.option("--printed", is_flag=True, help="With the printed epochs and attack (mnist/conv-pgd-0.1 and the like).")
def train_zoo(names: tuple[str, ...], listing: bool, printed: bool) -> None:
    """Train networks of data/models again, with their seeds: NAMES, or all that take minutes."""
    from tightrope import training  # torch, which nothing else here needs at once

    if listing:
        if names or printed:
            raise InputError("--list trains nothing: leave it out, or the names and --printed")
        for name, recipe in training.RECIPES.items():
            cost = "minutes" if recipe.quick else "up to hours; by name only"
            click.echo(f"{name}: {' -> '.join(map(str, recipe.sizes))}, {recipe.words} ({cost})")
        for name, reason in training.WITHOUT_RECIPE.items():
            click.echo(f"{name}: not trained here: {reason}")
        return

    def tell(name: str, epoch: int, loss: float) -> None:
        click.echo(f"{name} epoch {epoch} loss {loss:.4f}", err=True)

    for file in training.train_zoo(names, printed=printed, progress=tell):
        click.echo(file)
    left = [name for name, recipe in training.RECIPES.items() if not recipe.quick]
    if not names:
        click.echo(f"not trained, since they may take hours (write their names): {', '.join(left)}")


@main.command()
def data() -> None:
    """Fetch the papers' networks and MNIST, and check every SHA-256."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from tightrope import datasets

    missing = []
    files = list(datasets.registry())
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as bar:
        for file in bar.track(files, description="files"):
            try:
                datasets.fetch(file)
            except TightropeError as error:
                missing.append(str(error))
    for message in missing[:5]:
        _fail(message)
    click.echo(f"{len(files) - len(missing)} of {len(files)} files are here and are what their SHA-256 says.")
    if missing:
        sys.exit(2)


# ------------------------------------------------------------------------------------------------ helpers


def _chosen(names: tuple[str, ...], everything: bool, runnable: bool = True) -> list[published.Result]:
    """The results named, those of a paper where a name is its key, or all of them (all that can be run)."""
    known = published.results()
    if names and everything:
        raise InputError("--all is every result: leave it out, or the names")
    if names:
        papers = {name: [result for result in known if result.paper == name] for name in names}
        return [result for name in names for result in papers[name] or [published.find(name, known)]]
    if not everything:
        raise InputError("name a result (`tightrope list`), or write --all")
    return [result for result in known if result.runnable or not runnable]


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


if __name__ == "__main__":
    main()
