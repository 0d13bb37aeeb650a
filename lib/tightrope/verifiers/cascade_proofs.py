"""Certificate files of what the cascade decided of an image, from the letter of what decided it.

Nothing that is dearer than the letter's method is solved. What proves an image need not be what decided it: LP-ALL's
programs and branch and bound have the same leaves of slopes, and of Shor's relaxations only the labels are asked that
CROWN leaves open, so that such an image has two files.
"""

from fractions import Fraction
from functools import partial

from tightrope import attacks, relu_proofs
from tightrope.attacks import Attack
from tightrope.errors import CertificateError
from tightrope.proofs import Proof
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.question import Limits, Question, Verdict
from tightrope.threads import one_blas_thread
from tightrope.verifiers import mondeq
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.cascade import By
from tightrope.verifiers.methods import Stage
from tightrope.verifiers.phases import by_phases
from tightrope.verifiers.robustness import run

#: The relaxation of what is certified without solving.
LINES = {By.GREEDY: "deepz", By.CROWN: "crown"}


@one_blas_thread()
def proofs_of(question: Question, by: By, limits: Limits) -> list[Proof]:
    """Return what proves the verdict on a ball of the maximum norm, for all labels; findings alone if it is refused.

    A CertificateError says that an attack is not found again.
    """
    network, box, label = question.layers, question.region.require_box("the cascade is"), question.label
    if by.verdict is Verdict.FALSIFIED:
        return [relu_proofs.attack(question, _attack(question, limits))]
    if by in LINES:
        return [relu_proofs.linear(question, LINES[by])]
    if by in (By.DUAL, By.PROGRAM, By.TREE):
        root = layerwise(network, InputSet.from_balls([box]), label, "lp-all", keep=True)
        leaves = () if root.worst < 0 else branch_and_bound(question, limits, root=root, keep=True).leaves
        return [relu_proofs.layerwise(network, box, root, leaves)]
    layers = relu_proofs.linear(question, "crown")  # a twentieth of the size of LP-ALL's
    claims = [] if layers.certificate is None else layers.certificate.claims
    left = [claim["target"] for claim in claims if "bound" in claim and not Fraction(claim["bound"]) < 0]
    asked = Question(network.to_mondeq(), box, label, left)
    stages: list[Stage] = [partial(mondeq.by_shor, ellipsoids=True), *([by_phases] if by is By.PHASES else [])]
    report = run(asked, stages, "cascade", "1+cuts" if by is By.CUTS else "1", limits)
    return [layers, report.certificates()]


def _attack(question: Question, limits: Limits) -> Attack:
    """Return a point with another label: the centre, or what the cheapest attack finds."""
    hit = attacks.check(question, question.region.center)
    if hit is None:
        (hit,) = attacks.foolbox_pgd_each([question], seed=limits.seed)
    hit = hit or attacks.pgd(question, restarts=2, steps=40, seed=limits.seed).best
    hit = hit or branch_and_bound(question, limits).attack
    if hit is None:
        raise CertificateError("certificate: no attack is found again.")
    return hit
