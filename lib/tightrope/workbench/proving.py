"""Certificates for rows that were solved without one, the check of those that have one, and an archive of the files."""

import io
import random
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from tightrope import files
from tightrope.errors import InputError, TightropeError, UnknownNameError
from tightrope.proofs import Proof
from tightrope.workbench import certificates, workers
from tightrope.workbench.certificates import COLUMN, Checked
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.published import Result
from tightrope.workbench.records import KEPT_PROFILES, Store, case_key, case_of
from tightrope.workbench.registry import experiment, experiments, statement

Say = Callable[[str], None]


def provable(store: Store, results: Iterable[Result], profile: str, only: str | None = None) -> list[dict]:
    """Return the rows of these results that say something that a certificate can prove, by key.

    Of the kinds of rows that belong to a result, `only` names one.
    """
    kinds: dict[tuple[str, str], Experiment] = {}
    for result in filter(lambda result: result.runnable, results):
        own = experiment(result)
        for kind in experiments(result.paper).values():
            if result.name in (kind.name, kind.made_of) or kind in own.also:
                kinds[kind.paper, kind.name] = kind
    chosen = [kind for kind in kinds.values() if kind.name == (only or kind.name)]
    if only and not chosen:
        raise UnknownNameError("kind", only, [kind.name for kind in kinds.values()])
    rows = (row for kind in chosen for row in store.rows(kind.name, profile, kind.paper))
    return sorted((row for row in rows if statement(row) is not None), key=lambda row: row["key"])


def drawn(rows: Sequence[dict], sample: int | None, seed: int) -> list[dict]:
    """Return so many of the rows, drawn by a seed, in their order; all of them if there are no more, or if None."""
    if sample is None or sample >= len(rows):
        return list(rows)
    if sample < 0:
        raise InputError(f"sample: expected at least 0, got {sample}")
    chosen = random.Random(seed).sample(range(len(rows)), sample)
    return [rows[number] for number in sorted(chosen)]


@dataclass
class Prover:
    """Puts certificates into rows that lack one; everything else about a row stays."""

    store: Store
    rows: Mapping[str, dict]
    say: Say
    proven: int = 0  # rows that got one
    refused: int = 0  # rows that did not
    changed: set[tuple[str, str, str]] = field(default_factory=set)

    def put(self, case: Mapping, outcome: Mapping, by: Mapping | None = None) -> None:
        """Take the outcome of a case that was asked again: its file, if this proves what the row said before."""
        row = self.rows[case_key(case)]
        says, found = statement(row), outcome.get(COLUMN)
        assert says is not None  # provable
        proofs = [[found]] if isinstance(found, Proof) else found
        if proofs is None or statement({**row, **outcome}) is None:
            self._keep_none(row, "asked again, it is not certified; the row stays as it is")
        elif reason := certificates.refusal(says, proofs):
            self._keep_none(row, reason)
        else:
            self._add(row, certificates.write(row, row["key"], chain.from_iterable(proofs)))

    def take(self, row: dict) -> bool:
        """Use the file that an earlier run left, if it proves the row."""
        says, path = statement(row), certificates.folder() / certificates.name_of(row)
        if says is None or not path.is_file():
            return False
        sha256 = certificates.sha256_of(path)
        if certificates.check(row, says, sha256).reason:
            return False
        self._add(row, sha256)
        return True

    def _add(self, row: dict, sha256: str) -> None:
        self.store.add_certificate(row, sha256)
        self.changed.add((row["paper"], row["result"], row["profile"]))
        self.proven += 1
        self.say(f"{row['result']} {row['key'][:12]}: {sha256}")

    def _keep_none(self, row: Mapping, reason: str) -> None:
        self.refused += 1
        self.say(f"{row['result']} {row['key'][:12]}: no certificate: {reason}")

    def export(self) -> None:
        """Write the committed rows that were changed."""
        for paper, result, profile in sorted(self.changed):
            if profile in KEPT_PROFILES:
                self.store.export_csv(paper, result, profile)


def prove(
    results: Sequence[Result],
    profile: str,
    store: Store,
    *,
    only: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    say: Say = lambda text: None,
) -> Prover:
    """Ask the cases of certified rows without a certificate again, and put the SHA-256 of each new file into its row.

    What is stopped, or killed, continues where it was: a file that is there is taken. A `sample` is drawn from all rows
    that a certificate can prove, those that have one included; `jobs` processes solve, and `say` gets a line for each.
    """
    if jobs < 1:
        raise InputError(f"jobs: expected at least 1, got {jobs}")
    asked = drawn(provable(store, results, profile, only), sample, seed)
    todo = {row["key"]: row for row in asked if not row.get(COLUMN)}
    prover = Prover(store, todo, say)
    try:
        left = [row for row in todo.values() if not prover.take(row)]
        tasks = [_task(row) for row in sorted(left, key=lambda row: row.get("seconds") or 0)]  # the cheap ones first
        with ExitStack() as stack:
            if jobs > 1 and tasks:
                client = stack.enter_context(workers.local_workers(jobs))
                for failure in workers.solve(client, tasks, prover.put):
                    prover._keep_none(todo[failure.task.key], failure.reason)
            else:
                for task in tasks:
                    try:
                        prover.put(task.case, task.solve(task.case))
                    except TightropeError as error:
                        prover._keep_none(todo[task.key], str(error))
    finally:
        prover.export()
    return prover


def _task(row: dict) -> workers.Task:
    """Return what makes the certificates of a row: what proves such rows, or else what solves them."""
    kind = experiments(row["paper"])[row["result"]]
    return workers.Task(case_of(row), kind.solver if kind.prover is None else partial(_proven, kind.prover, row))


def _proven(prover: Callable[[dict], Sequence[Sequence[Proof]]], row: dict, _: Mapping) -> dict:
    return {COLUMN: prover(row)}


def check(rows: Iterable[dict], say: Say = lambda text: None) -> list[Checked]:
    """Check the certificates of these rows, a line for each."""
    found = []
    for row in rows:
        says = statement(row)
        nothing = "it says nothing that a certificate proves"
        found.append(Checked(row, nothing) if says is None else certificates.check(row, says))
        say(str(found[-1]))
    return found


def archive(rows: Iterable[Mapping], path: Path) -> int:
    """Write the files of these rows as a tar archive, for a release; return their number.

    The same files give the same bytes. Unpack it in :func:`tightrope.workbench.certificates.folder`.

    Raises
    ------
    InputError
        A file is missing, or is not the one of its row.
    """
    names = sorted((certificates.name_of(row), row[COLUMN]) for row in rows)
    if not names:
        raise InputError("archive: no row has a certificate; write them with `tightrope certificates`")
    for name, sha256 in names:
        file = certificates.folder() / name
        if not file.is_file() or certificates.sha256_of(file) != sha256:
            raise InputError(f"archive: {file} is missing, or is not the file of its row")
    with files.access(path, "written"), tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, _ in names:
            content = (certificates.folder() / name).read_bytes()
            entry = tarfile.TarInfo(name)  # no time, no owner
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return len(names)
