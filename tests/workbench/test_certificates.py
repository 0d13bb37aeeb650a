"""Certificates of rows: solved with one, proven later, held against the row, packed for a release."""

import tarfile

import pytest
from click.testing import CliRunner

from tightrope import checker, datasets, paths, proofs
from tightrope.checker import Finding
from tightrope.cli import main
from tightrope.proofs import Proof
from tightrope.workbench import certificates, proving, published, registry, runner
from tightrope.workbench.cases import ball_case
from tightrope.workbench.certificates import Claim, Statement
from tightrope.workbench.records import Store, case_key, code_fingerprint, from_csv

RESULT = "table-2-certified-ratio"
LABELS = datasets.load("digits").labels
ALIKE = 1 + LABELS[1:].tolist().index(LABELS[0])  # another image with the label of the first
VERIFY = ("verify", "--result", RESULT, "--profile", "quick")
WRITE = ("certificates", RESULT, "--profile", "quick")


def call(*arguments):
    """Run the command and return its exit code and the lines of its output."""
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output.splitlines()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of certificates, and an empty store."""
    monkeypatch.setenv(certificates.FOLDER_VARIABLE, str(tmp_path / "certificates"))
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results", raising=False)
    return tmp_path / "certificates"


def quick_cases(result, **equal):
    """The cases of a result's own kind in the quick profile."""
    every = runner.cases(runner.prepare(published.find(result), "quick"))
    return [case for case in every if case["result"] == result and all(case[name] == v for name, v in equal.items())]


def solve(result=RESULT, **equal):
    """Solve the first of these cases and return its row."""
    case = quick_cases(result, **equal)[0]
    with Store() as store:
        return store.put(case, registry.experiment(published.find(result)).solver(case))


def keep(row):
    """Write a row as it is."""
    with Store() as store:
        store._write(row, code_fingerprint())


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A row of the quick profile with its certificate, as bytes, both made once."""
    home = tmp_path_factory.mktemp("solved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(certificates.FOLDER_VARIABLE, str(home))
        patch.setattr(paths, "RESULTS", home, raising=False)
        row = solve(image=0, norm="inf", epsilon_pixel=0.01, clip=True)
        return row, (home / certificates.name_of(row)).read_bytes()


@pytest.fixture
def kept(folder, solved):
    """The row in the store, its file in the folder; the path of this."""
    row, content = solved
    path = folder / certificates.name_of(row)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    keep(row)
    return path


@pytest.mark.parametrize(
    ("result", "equal"),
    [
        ("table-3-lipschitz-bounds", {"method": "lipschitz-model", "norm": 2}),
        ("table-3-lipschitz-bounds", {"method": "pairwise", "norm": 2}),
        ("table-2-sdp-nn", {"method": "hr-2-signs", "set": "local"}),
        ("table-2-sdp-nn", {"method": "ascent", "set": "local"}),
    ],
    ids=["constant", "pairs", "upper", "lower"],
)
def test_what_a_solved_row_says_is_proven(folder, result, equal):
    """Its file holds what the row says, and no less."""
    row = solve(result, **equal)
    says = registry.statement(row)
    assert not certificates.check(row, says).reason
    sharper = {**row, "value": row["value"] * (0.99 if says.claims[0].relation == "<=" else 1.01)}
    if row.get("parts"):
        sharper["parts"] = [0.99 * value for value in row["parts"]]
    found = certificates.check(sharper, registry.statement(sharper))
    assert "does not claim what the row says" in found.reason


def test_a_row_is_proven(kept, solved):
    row, content = solved
    assert checker.from_bytes(content).claims and len(registry.statement(row).claims) == 9
    code, lines = call(*VERIFY)
    assert code == 0
    assert lines[0] == f"PROVEN   {RESULT} {row['key'][:12]}"
    assert lines[1:] == ["1 of 1 certificates prove their rows; 1 of 1 rows have one"]


@pytest.mark.parametrize(("epsilon", "verdict"), [(0.02, "certified"), (0.3, "falsified")])
def test_what_table_2_leaves_open_has_the_file_of_its_answer(folder, epsilon, verdict):
    """All labels, or the point that reaches one; under the name of the printed result."""
    label = int(LABELS[0])
    options = {"seed": 0, "targets": [k for k in range(10) if k != label], "time_limit": 60.0}
    case = ball_case("digits/mondeq-16", "inf", epsilon, False, "exact", options, image=0)
    case = {"paper": "chen2021-mondeq", "result": "table-2-exact", "profile": "quick", **case}
    with Store() as store:
        row = store.put(case, registry.experiments(case["paper"])[case["result"]].solver(case))
    assert row["verdict"] == verdict
    assert len(registry.statement(row).claims) == (9 if verdict == "certified" else 1)
    assert call(*VERIFY)[1][0] == f"PROVEN   table-2-exact {row['key'][:12]}"
    keep({**row, "certificate": None})
    assert call(*WRITE) == (
        0,
        [
            f"table-2-exact {row['key'][:12]}: {row['certificate']}",
            "1 certificates added, 0 refused; 1 of 1 rows have one",
        ],
    )
    keep({**row, "options": {**options, "targets": [1]}})
    code, lines = call(*VERIFY)
    assert code == 1 and "those that were open" in lines[0]


def test_an_altered_file_is_refused(kept):
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    code, lines = call(*VERIFY)
    assert (code, len(lines)) == (1, 2)
    assert lines[0].startswith("REFUSED") and lines[0].endswith("the SHA-256 of its file is not that of the row")


def test_a_row_with_the_sha_of_a_file_that_proves_less_is_refused(kept, solved):
    """The SHA-256 alone proves nothing: a file without one of the labels."""
    row, content = solved
    file = checker.from_bytes(content)
    rows = {name: array[:-1] if len(array) == len(file.claims) else array for name, array in file.arrays.items()}
    sha256 = checker.Certificate(file.theory, file.network, file.region, file.claims[:-1], rows).save(kept)
    keep({**row, "certificate": sha256})
    code, lines = call(*VERIFY)
    assert code == 1
    assert f"does not claim what the row says: label {row['label']}, target" in lines[0]


def test_a_file_with_a_claim_that_is_false_is_refused(kept, solved):
    row, content = solved
    file = checker.from_bytes(content)
    claims = [{**file.claims[0], "bound": "-1000"}, *file.claims[1:]]
    sha256 = checker.Certificate(file.theory, file.network, file.region, claims, file.arrays).save(kept)
    keep({**row, "certificate": sha256})
    code, lines = call(*VERIFY)
    assert code == 1 and "<= -1000" in lines[0]


def test_another_sha_is_refused(kept, solved):
    keep({**solved[0], "certificate": "0" * 64})
    code, lines = call(*VERIFY)
    assert code == 1 and "SHA-256" in lines[0]


@pytest.mark.parametrize(
    "change",
    [
        {"image": ALIKE},
        {"epsilon_pixel": 0.02},
        {"clip": False},
        {"norm": 2},
        {"label": 1},
        {"labels": [{"label": 1}]},
        {"network_sha256": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_file_of_another_question_is_refused(kept, solved, change):
    keep({**solved[0], **change})
    code, lines = call(*VERIFY)
    others = "all others"
    reasons = {"label": others, "labels": others, "network_sha256": "another network"}
    assert (code, len(lines)) == (1, 2)
    assert reasons.get(next(iter(change)), "another image or region") in lines[0]


def test_a_missing_file_is_named(kept):
    kept.unlink()
    code, lines = call(*VERIFY)
    assert code == 2
    assert str(kept) in lines[0] and lines[0].startswith("REFUSED")


def test_a_row_without_certificate_gets_one(kept, solved, monkeypatch):
    """The rest of it stays; the file of a run that was stopped is taken, and nothing is solved for it."""
    row = {name: value for name, value in solved[0].items() if name != "certificate"}
    keep(row)
    code, lines = call(*VERIFY)
    assert code == 2 and "none of its 1 certified rows has a certificate" in lines[0]
    kind = registry.experiment(published.find(RESULT))
    with monkeypatch.context() as patch:
        patch.setattr(kind, "solver", None)
        code, lines = call(*WRITE)
    assert (code, lines[-1]) == (0, "1 certificates added, 0 refused; 1 of 1 rows have one")
    with Store() as store:
        assert store.rows(RESULT, "quick") == [solved[0]]
    keep(row)
    kept.write_bytes(b"not a certificate")  # what is there proves nothing: asked again
    assert call(*WRITE)[0] == 0
    with Store() as store:
        (again,) = store.rows(RESULT, "quick")
    assert {name: again[name] for name in row} == row
    assert call(*VERIFY)[0] == 0


def test_another_answer_leaves_the_row(kept, solved, monkeypatch):
    row = {name: value for name, value in solved[0].items() if name != "certificate"}
    keep(row)
    kept.unlink()
    kind = registry.experiment(published.find(RESULT))
    refused = Proof(None, (Finding("F_1 - F_0 <= -1", False, reason="the form is not positive"),))
    answers = {
        "asked again, it is not certified": {"robustness": "unknown", "certificate": None},
        "the form is not positive": {"robustness": "certified", "certificate": refused},
    }
    for words, answer in answers.items():
        monkeypatch.setattr(kind, "solver", lambda case, answer=answer: {**row, **answer})
        code, lines = call(*WRITE)
        assert code == 1 and words in lines[0]
        assert lines[-1] == "0 certificates added, 1 refused; 0 of 1 rows have one"
    with Store() as store:
        assert store.rows(RESULT, "quick") == [row]


def test_an_archive_has_the_same_bytes(kept, solved, tmp_path):
    files = [tmp_path / name for name in ("one.tar", "two.tar")]
    for file in files:
        kept.touch()
        assert call(*WRITE, "--sample", "0", "--archive", file)[0] == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    with tarfile.open(files[0]) as tar:
        assert tar.getnames() == [certificates.name_of(solved[0])]
        assert tar.extractfile(tar.getnames()[0]).read() == solved[1]
    kept.write_bytes(b"")
    code, lines = call(*WRITE, "--archive", files[0])
    assert code == 2 and "is not the file of its row" in lines[-1]


def test_mistakes_are_one_line(folder, tmp_path):
    for arguments in (
        ("verify",),
        ("verify", "a.cert", "--result", RESULT),
        ("verify", "--result", "table-99"),
        ("verify", "--all", "--result", RESULT),
        VERIFY,  # no rows at all
        (*WRITE, "--jobs", "0"),
        (*VERIFY, "--sample", "0"),
        (*WRITE, "--archive", tmp_path / "rows.tar"),
    ):
        code, lines = call(*arguments)
        assert code == 2 and lines[-1].startswith("Error: "), arguments


def test_a_sample_is_drawn_by_its_seed():
    rows = [{"key": str(number)} for number in range(30)]
    assert proving.drawn(rows, None, 0) == proving.drawn(rows, 30, 1) == rows
    first = proving.drawn(rows, 5, 0)
    assert first == proving.drawn(rows, 5, 0) != proving.drawn(rows, 5, 1)
    assert len(first) == 5 and first == sorted(first, key=lambda row: int(row["key"]))


def test_claims():
    """A bound to four digits, outward; nothing weaker, and nothing about something else."""
    upper, lower = (Claim({"norm": "2"}, relation, 3.68106) for relation in ("<=", ">="))
    assert upper.met_by({"norm": "2", "bound": "3.682"}) and not upper.met_by({"norm": "2", "bound": "3.6821"})
    assert lower.met_by({"norm": "2", "least": "3.681"}) and not lower.met_by({"norm": "2", "least": "3.6809"})
    assert not lower.met_by({"norm": "2", "bound": "3"}) and not upper.met_by({"norm": "inf", "bound": "3"})
    assert not upper.met_by({"norm": "2", "bound": "3", "pair": [0, 1]})
    assert not upper.met_by({"norm": "2", "bound": "NaN"}) and not upper.met_by({"norm": "2", "bound": 3})
    below = Claim({"label": 1, "target": 0}, "<", 0.0)
    assert below.met_by({"label": 1, "target": 0, "bound": "-0.1", "leaves": 3})
    assert not below.met_by({"label": 1, "target": 0, "bound": "0"})
    assert "target 0" in Statement((below,), None).missing([])


def test_what_cannot_be_proven_has_no_file(folder, solved):
    """A proof that lacks a claim of the row is none of the row; its SHA-256 stays empty."""
    row, content = solved
    file = checker.from_bytes(content)

    class Report:
        def certificates(self):
            return Proof(checker.Certificate(file.theory, file.network, file.region, file.claims[1:], {}), ())

    proof = certificates.proof_of(registry.statement(row), Report())
    assert proof.certificate is None and "the file does not claim it" in str(proof.findings)
    assert certificates.kept({}, {"certificate": proof}, "key") == {"certificate": None}
    assert not folder.exists()
    assert certificates.proof_of(None, Report()) is None


def test_the_store_gives_a_row_its_certificate(tmp_path):
    """The column stands before what made the row; a clone that has the row already takes it from the CSV."""
    cases = [{"paper": "p", "result": "r", "profile": "paper", "image": image} for image in (0, 1)]
    with Store(tmp_path / "a.sqlite") as store, Store(tmp_path / "b.sqlite") as other:
        rows = [store.put(case, {"value": 1.0}) for case in cases]
        store.export_csv("p", "r", "paper")
        assert len(other.rows("r", "paper")) == 2
        store.add_certificate(rows[1], "ab" * 32)
        path = store.export_csv("p", "r", "paper")
        names = path.read_text().splitlines()[0].split(",")
        assert names[-4:] == ["certificate", "versions", "created", "key"]
        assert [row["certificate"] for row in from_csv(path.read_text())] == [None, "ab" * 32]
        assert [row.get("certificate") for row in other.rows("r", "paper")] == [None, "ab" * 32]
        assert store.get(cases[1])["key"] == case_key(cases[1])


def test_a_number_is_proven_if_all_its_rows_are(solved):
    row = solved[0]
    bare, falsified = {**row, "certificate": None}, {**row, "robustness": "falsified", "certificate": None}
    assert registry.proof([row, falsified]) == "proven"
    assert registry.proof([row, bare]) == "computed"
    assert registry.proof([falsified]) == registry.proof([]) == ""
    assert proofs.arrays_of(registry.statement(row).about()[0])[0] == "mondeq"
