"""The papers' READMEs: each erratum has a command that is one, and what they say in numbers is what the rows say."""

import contextlib
import io
import math
import re
import shlex

import pytest
from click.testing import CliRunner

from tightrope import cli, paths
from tightrope.results.chen2020_lipschitz import random_networks
from tightrope.results.chen2021_mondeq import orders
from tightrope.results.chen2021_mondeq.common import ball_name, by_ball
from tightrope.results.chen2021_mondeq.exact import answers
from tightrope.results.jovanovic2022_paradox import landscapes, tightness
from tightrope.results.jovanovic2022_paradox.common import TITLES
from tightrope.results.salman2019_barrier import distortion
from tightrope.workbench import compare as comparing
from tightrope.workbench import published
from tightrope.workbench.records import from_csv
from tightrope.workbench.rows import Rows

CHEN2020, CHEN2021, PARADOX, BARRIER = (paper.key for paper in published.papers())
COMMAND = re.compile(
    r"^ {4,}((?:tightrope|pytest|python) [^`\n]+)$|`((?:tightrope|pytest|python) [^`]+)`", re.MULTILINE
)


def readme(key):
    """A paper's README."""
    return (paths.PAPERS / key / "README.md").read_text(encoding="utf-8")


def errata(key):
    """Number -> text of each erratum."""
    section = re.search(r"^## Errata.*?\n(.*?)(?=^## |\Z)", readme(key), re.DOTALL | re.MULTILINE).group(1)
    parts = re.split(r"^(\d+)\. ", section, flags=re.MULTILINE)[1:]
    return dict(zip(map(int, parts[::2]), parts[1::2], strict=True))


def commands(text):
    """The commands in a text, without comments."""
    return [shlex.split("".join(found).replace("\n", " "), comments=True) for found in COMMAND.findall(text)]


def rows(key, name):
    """The committed rows of a kind."""
    return Rows(from_csv((paths.RESULTS / key / f"{name}.paper.csv").read_text(encoding="utf-8")))


# --------------------------------------------------------------------------------------------------- commands

ERRATA = [(key, number) for key in (CHEN2020, CHEN2021, PARADOX, BARRIER) for number in errata(key)]


@pytest.mark.parametrize(("key", "number"), ERRATA)
def test_each_erratum_names_its_command(key, number):
    assert commands(errata(key)[number])


@pytest.mark.parametrize(
    "command", [shlex.join(found) for paper in published.papers() for found in commands(readme(paper.key))]
)
def test_a_command_is_one(command):
    """Options, results, files and names of tests exist; nothing is run."""
    program, *arguments = shlex.split(command)
    if program == "pytest":
        file = (paths.ROOT / arguments[0]).read_text(encoding="utf-8")
        if "-k" in arguments:
            word = arguments[arguments.index("-k") + 1]
            assert re.search(rf"def test\w*{word}|parametrize.*{word}", file), f"no test of {arguments[0]} has {word!r}"
    elif program == "python":
        assert arguments[0] in ("-c", "-m")
        if arguments[0] == "-c":
            compile(arguments[1], "README.md", "exec")
        else:
            base = arguments[1].replace(".", "/")
            places = [
                root / f"{base}{end}" for root in (paths.ROOT, paths.ROOT / "lib") for end in (".py", "/__main__.py")
            ]
            assert any(place.is_file() and "__main__" in place.name + place.read_text() for place in places)
    else:
        name, *rest = arguments
        context = cli.main.commands[name].make_context(name, list(rest))
        if name in ("run", "compare"):
            keys = [paper.key for paper in published.papers()]
            assert [name in keys or published.find(name) for name in context.params["names"]] or "--all" in rest
            for pair in context.params.get("pairs", ()):
                assert pair[0] in published.defaults(published.find(context.params["names"][0]))


def output_of(command):
    """What `python -c` of an erratum prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(command[2], "README.md", "exec"), {})
    return said.getvalue()


@pytest.mark.published
@pytest.mark.parametrize(
    ("number", "numbers"),
    [(5, ["5.23", "0.257"]), (7, ["4.8076", "824.135"])],
)
def test_what_the_commands_on_the_monotone_network_print(number, numbers):
    said = output_of(next(found for found in commands(errata(CHEN2021)[number]) if found[:2] == ["python", "-c"]))
    assert all(part in said and part in errata(CHEN2021)[number] for part in numbers), said


@pytest.mark.published
def test_the_printed_lipschitz_model_grows_without_end():
    said = output_of(commands(errata(CHEN2021)[6])[0])
    first, second, third = map(float, re.findall(r"[-\d.]+(?:e[+-]?\d+)?", said.replace("np.float64", "")))
    assert second == pytest.approx(10 * first) and third == pytest.approx(100 * first) and first > 0


@pytest.mark.published
@pytest.mark.long
def test_image_92_is_falsified_unclipped_and_certified_clipped():
    found = [command for command in commands(errata(CHEN2021)[2]) if command[1] == "certify"]
    said = [CliRunner().invoke(cli.main, command[1:]).output for command in found]
    assert "falsified" in said[0] and "certified" in said[1] and "falsified" not in said[1]


# ---------------------------------------------------------------------------------------- sentences and rows


def says(key, *sentences):
    """Assert that a README has these words, wherever its lines end."""
    text = " ".join(readme(key).split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing, missing


def up(value, digits):
    """An upper bound with so many digits behind the point."""
    return f"{math.ceil(value * 10**digits) / 10**digits:.{digits}f}"


def down(value, digits):
    """A lower bound with so many digits behind the point."""
    return f"{math.floor(value * 10**digits) / 10**digits:.{digits}f}"


def test_the_table_of_claims_of_chen2020():
    texts = {
        "every upper bound >= LBS": None,
        "HR-2 (its upper end) <= SHOR": "HR-2 (its upper end) <= SHOR",
        "product Shor <= HR-2 (its lower end)": "product Shor <= HR-2 (its lower end)",
    }
    kinds = [
        rows(CHEN2020, name)
        for name in ("figure-1-sparsity-sweep", "poster-figures-1-and-2", "table-1-random-networks")
    ]
    found = [{line[0]: line[1:] for line in random_networks.claims(kind).rows} for kind in kinds]
    assert all(count == of for one in found for text, (count, of) in one.items() if text.startswith("LBS"))
    for text in filter(None, texts.values()):
        says(CHEN2020, f"| {text} | {' | '.join(f'{count} of {of}' for count, of in (one[text] for one in found))} |")
    lipopt, deeper = "HR-2 (its upper end) <= LipOpt-3", "HR-1 <= LipOpt-3"
    says(CHEN2020, f"{found[0][lipopt][0]} of {found[0][lipopt][1]}, all of s >= 30", f"{found[1][lipopt][0]} of 20")
    says(
        CHEN2020, f"| {found[1][deeper][0]} of {found[1][deeper][1]} | {found[2][deeper][0]} of {found[2][deeper][1]} |"
    )


def test_the_constants_and_ratios_of_chen2020():
    table = {(row["method"], row["set"]): row["value"] for row in rows(CHEN2020, "table-2-sdp-nn") if row["value"]}
    highest = max(table[method, "global"] for method in ("qcqp", "shor", "hr-2-signs", "product-shor"))
    says(CHEN2020, f"are all {up(highest, 3)} at most", f"is {up(table['hr-2-products', 'global'], 3)} (relative")
    ends = down(table["hr-2-products", "local"], 3), up(table["hr-2-signs", "local"], 3)
    says(
        CHEN2020,
        "HR-2 between {} and {}, and product Shor".format(*ends),
        f"{up(table['product-shor', 'local'], 3)} (printed",
    )
    says(CHEN2020, f"reach {down(table['lbs', 'global'], 2)} (global", f"and {down(table['lbs', 'local'], 2)} (local")
    says(CHEN2020, f"points with {down(table['ascent', 'global'], 2)} and {down(table['ascent', 'local'], 2)}")
    ratio = {row["method"]: row["certified"] for row in rows(CHEN2020, "table-4-ratio") if row["ball"] == "paper"}
    assert ratio["qcqp"] == ratio["product-shor"]
    says(CHEN2020, f"({ratio['qcqp'][0]:.2f} % at 0.01, {ratio['qcqp'][-1]:.2f} % at 0.1)")


def test_images_and_ratios_of_chen2021():
    """Which images each order decides, in the README's words; the exact ratios; fixpoints and constants."""
    table_2 = rows(CHEN2021, "table-2-certified-ratio")
    at_92 = table_2.one(image=92, norm="inf", epsilon_pixel=0.01, clip=False)
    (reached,) = [part for part in at_92["labels"] if part["verdict"] == "falsified"]
    assert (at_92["label"], reached["label"]) == (9, 4)
    says(
        CHEN2021,
        f"image 92 (a 9) is labelled 4 at a point within 0.01, with a margin of {reached['attack_margin']:.3f}",
    )
    assert table_2.where(norm="inf", epsilon_pixel=0.01, clip=True).count(robustness="certified") == 99
    decided = {}
    for ball, own in by_ball(rows(CHEN2021, "table-2-orders")):
        for verdict in ("falsified", "certified", "unknown"):
            decided[ball_name(*ball[:2]), ball[2], verdict] = own.where(verdict=verdict).column("image")
    assert decided["linf-0.1", True, "falsified"] == [95] and decided["linf-0.1", False, "certified"] == [71]
    assert decided["linf-0.1", True, "certified"] == [35, 51] and decided["linf-0.05", False, "certified"] == [70, 72]
    assert decided["linf-0.05", True, "certified"] == [20] and set(decided["linf-0.05", False, "unknown"]) == {27, 64}
    says(
        CHEN2021,
        "reaches image 95 at L-infinity 0.1 clipped",
        "certifies 71 (0.1 unclipped, the one robust image there)",
    )
    says(CHEN2021, "35 and 51 (0.1 clipped), 70 and 72 (0.05 unclipped) and 20 (0.05 clipped)", "Images 27 and 64")
    counts = answers(table_2, rows(CHEN2021, "table-2-exact"))
    robust = {(ball_name(*ball[:2]), ball[2]): count["relaxation"] + count["exact"] for ball, count in counts}
    assert not any(count["undecided"] for _, count in counts)
    balls = ("l2-0.1", "linf-0.1", "linf-0.05", "linf-0.01")
    pairs = [f"{robust[ball, False]} and {robust[ball, True]}" for ball in balls]
    says(CHEN2021, f"{pairs[0]} (L2 0.1, unclipped and clipped), {', '.join(pairs[1:])} (L-infinity 0.1, 0.05, 0.01)")
    constants = {ball_name(row["norm"], row["epsilon_pixel"]): row for row in rows(CHEN2021, "table-2-lipschitz")}
    for column in ("printed_criterion", "pairwise"):
        says(CHEN2021, "{}, {}, {} and {}".format(*(constants[ball][column] for ball in balls)))
    zonotopes = rows(CHEN2021, "table-2-fixpoints").where(method="zonotope", fixpoint="certified")
    count = {(ball_name(*ball[:2]), ball[2]): len(own) for ball, own in by_ball(zonotopes)}
    pairs = [f"{count.get((ball, False), 0)} and {count.get((ball, True), 0)}" for ball in balls]
    says(
        CHEN2021, f"zonotopes certify {pairs[0]} images (L2 0.1", f"{', '.join(pairs[1:])} (L-infinity 0.1, 0.05, 0.01)"
    )
    assert orders.decided(rows(CHEN2021, "table-2-orders")).rows


def test_areas_jumps_and_counts_of_the_paradox():
    areas = tightness.areas(rows(PARADOX, "table-4-cr-auc"))
    five = ("Box", "hBox", "CROWN-IBP (R)", "DeepZ", "CROWN")
    table = {line[0]: dict(zip(areas.columns, line, strict=True)) for line in areas.rows}
    of = {letter: {name: table[name][title] for name in five} for title in areas.columns[1:] for letter in title[0]}
    for letter, after in (("A", " without"), ("F", ";")):
        *most, last = (f"{area:.2f}" for area in of[letter].values())
        says(PARADOX, f"{', '.join(most)} and {last}{after}")
    says(
        PARADOX,
        f"CROWN {of['B']['CROWN']:.2f} and {of['C']['CROWN']:.1f}",
        f"Box {of['B']['Box']:.2f} and {of['C']['Box']:.2f}",
    )
    same = tightness.shared(rows(PARADOX, "figure-9-cr-curves-f"))
    shared = {TITLES[method]: tightness.cr_auc(*tightness.cr_curve(own)) for (method,), own in same.by("method")}
    order = ("Triangle", "CROWN", "DeepZ", "Parallelogram", "CROWN-IBP (R)", "hBox", "Box")
    says(PARADOX, f"first 25 images: {', '.join(f'{name} {shared[name]:.2f}' for name in order)}")
    jumps = {row["method"]: len(row["jumps"]) for row in rows(PARADOX, "figure-4-shifted-bias")}
    says(PARADOX, f"CROWN jumps {jumps['crown']} times, CROWN-IBP (R) {jumps['crown_ibp']}, hBox {jumps['hbox']} times")
    assert jumps["box"] == jumps["deepz"] == 0
    count = {
        (row["network"].rpartition("fc-")[2], row["method"]): len(row["jumps"])
        for row in rows(PARADOX, "figure-10-shifted-bias-mnist")
    }
    others = [n for (training, method), n in count.items() if method == "crown" and training != "crown"]
    says(PARADOX, f"up to {max(n for (_, method), n in count.items() if method == 'hbox')} times on the others")
    says(
        PARADOX,
        f"CROWN jumps {count['crown', 'crown']} times on its own and {min(others)} to {max(others)} times on",
    )
    five_, six = (rows(PARADOX, name).where(flat=False) for name in (landscapes.FIGURE_5, landscapes.FIGURE_6))
    worse = [row for row in five_ if row["end"] < row["box_end"]]
    fallen = sum(row["fallen"] > 0 for row in five_)
    both = sum(row["fallen"] > 0 for row in worse)
    says(
        PARADOX,
        f"of {len(five_)} random networks",
        f"a jump on {fallen}, CROWN ends below Box on {len(worse)}, both on {both}",
    )
    worse = [row for row in six if row["end"] < row["box_end"]]
    assert not any(row["trapped"] for row in worse)
    says(
        PARADOX,
        f"DeepZ ends below Box on {len(worse)}",
        f"behind it on {six.total('trapped')}, none of them among the {len(worse)}",
    )
    says(PARADOX, f"Box does on {six.total('box_trapped')}.")


def test_components_divided_by_their_deviation_come_nearer_to_table_14():
    """As the reason of each of its cells says; those of normalised pixels do not."""
    cells = {cell.id: cell.printed for cell in published.find(f"{PARADOX}/table-14-triangle-parallelogram").cells}
    table = rows(PARADOX, "table-14-triangle-parallelogram")
    for (method,), own in table.by("method"):
        for part, column in (("accuracy", "correct"), ("certified", "certified")):
            printed = cells[f"table-14/{method.replace('_ibp', '-ibp-r')}/{part}"]
            off = {
                scaling: abs(100 * some.mean(column) / some[0]["images"] - printed)
                for (scaling,), some in own.by("scaling")
            }
            assert off["whitened"] < off["plain"] < off.get("normalised", 100)


def test_degrees_of_the_paradox_are_those_of_the_rows():
    found = rows(PARADOX, "sensitivity-degrees")
    highest = {
        (neurons, hidden): max(own.column("degree"))
        for (neurons, hidden), own in found.where(method="deepz").by("neurons", "hidden")
    }
    assert all(degree == (neurons + 1) ** hidden for (neurons, hidden), degree in highest.items())
    line = ", ".join(str(highest[neurons, 1]) for neurons in (2, 3, 4))
    says(PARADOX, f"({line} for H = 1 and M = 2, 3, 4")
    for method in ("box", "hbox"):
        assert max(found.where(method=method).column("degree")) == 1


def test_hbox_is_before_crown_ibp_on_the_printed_experiments_that_are_named():
    printed = {cell.id: cell.printed for cell in published.find(f"{PARADOX}/table-4-cr-auc").cells}
    before = [
        letter for letter in "ABCDEFGH" if printed[f"table-4/hbox/{letter}"] > printed[f"table-4/crown-ibp/{letter}"]
    ]
    behind = [letter for letter in "ABCDEFGH" if letter not in before]
    says(
        PARADOX,
        f"in the printed {', '.join(before[:-1])} and {before[-1]}, a smaller one in {', '.join(behind[:-1])} and",
    )


def test_parallelogram_is_between_the_classes_here_and_not_in_the_print():
    printed = {cell.id: cell.printed for cell in published.find(f"{PARADOX}/table-4-cr-auc").cells}
    for letter, inside in (("F", True), ("G", True), ("H", False)):
        mid, high = (
            [printed[f"table-4/{method.replace('_', '-')}/{letter}"] for method in tightness.CLASSES[name]]
            for name in ("mid", "high")
        )
        assert max(mid) < printed[f"table-4/parallelogram/{letter}"]
        assert (printed[f"table-4/parallelogram/{letter}"] < min(high)) == inside
    numbers = {}
    for (network,), own in tightness.shared(rows(PARADOX, "table-4-cr-auc")).by("network"):
        area = {method: tightness.cr_auc(*tightness.cr_curve(part)) for (method,), part in own.by("method")}
        if "triangle" in area:
            numbers[network] = [f"{area[method]:.2f}" for method in ("triangle", "parallelogram", "crown")]
            mid, high = ([area[method] for method in tightness.CLASSES[name]] for name in ("mid", "high"))
            assert max(mid) < area["parallelogram"] < min(high) and max(high) < area["triangle"]
    pairs = [
        f"{g} and {h}"
        for g, h in zip(numbers["mnist/fc-small-pgd-0.1"], numbers["mnist/fc-small-pgd-0.3"], strict=True)
    ]
    says(PARADOX, "G and H on the same images: Triangle {}, Parallelogram {}, where CROWN has {}".format(*pairs))


def test_means_and_robust_errors_of_the_barrier():
    figure = rows(BARRIER, "figure-3-epsilon-gap")
    mean = {
        (network, name): distortion.mean_radius(own, name)
        for (network,), own in figure.by("network")
        for name in distortion.RADII
    }
    adv, nor = f"{BARRIER}/adv-mlp-2-100", f"{BARRIER}/nor-mlp-9-100"
    says(BARRIER, f"ADV 2x100: {mean[adv, 'lp-greedy']:.2f}, printed", f"and {mean[adv, 'lp-all']:.2f}, printed")
    says(BARRIER, f"({mean[nor, 'lp-last']:.2f}, printed 11.92", f"({mean[adv, 'pgd']:.2f}, printed 81.22)")
    says(BARRIER, f"finds closer points ({mean[adv, 'aimed']:.2f})")
    printed = {cell.id: cell.printed for cell in published.find(f"{BARRIER}/figure-3-epsilon-gap").cells}
    for kind, percent in (("mlp-9-100/adv", 31), ("cnn-deep-2/nor", 43)):
        gain = 100 * (printed[f"figure-3/{kind}/lp-all"] / printed[f"figure-3/{kind}/lp-greedy"] - 1)
        assert round(gain) == percent
        says(BARRIER, f"{percent} %")
    median = {line[0]: 100 / (100 - line[2]) for line in distortion.gaps_of(figure) if line[1] == "lp-all"}
    colour = [f"{median[f'{BARRIER}/cifar10-{training}-cnn-wide-1']:.2f}" for training in ("nor", "lpd")]
    says(BARRIER, "PGD's radius is {} (NOR) and {} times (LPD)".format(*colour))
    result = published.find(f"{BARRIER}/table-1-robust-error")
    found = ours(result)
    cells = {cell.id: cell.printed for cell in result.cells}
    lines = [id.split("/")[1] for id in cells if id.endswith("/pgd")]
    as_printed = [line for line in lines if found[f"table-1/{line}/pgd"] == cells[f"table-1/{line}/pgd"]]
    off = max(abs(found[f"table-1/{line}/pgd"] - cells[f"table-1/{line}/pgd"]) for line in lines)
    words = ("eight", "nine", "ten", "eleven")
    says(
        BARRIER,
        f"{words[len(as_printed) - 8]} of its eleven lines are the printed number",
        f"the others within {off:.2f}",
    )
    robust = [found[f"table-1/lpd-mlp-b-0.{n}/milp-lower"] for n in (1, 2, 3, 4)]
    says(BARRIER, "{:.2f}, {:.2f}, {:.2f} and {:.2f} %, where the MILP's".format(*robust))
    for line in ("adv-mlp-b-0.03", "adv-mlp-b-0.05", "adv-mlp-b-0.1", "nor-mlp-b-0.05"):
        low, high = (found[f"table-1/{line}/milp-{side}"] for side in ("lower", "upper"))
        says(BARRIER, f"| {low:.2f} to {high:.2f} |")


def ours(result):
    """Our number for each printed cell of a result, from the committed rows."""
    defaults = published.parameters(result, "paper")
    kind = comparing.experiment(result)
    return {id: value.value for id, value in kind.values(kind.kept("paper"), defaults).items()}


def test_every_reason_of_a_cell_without_a_number_is_given():
    """`compare` would ask for a run of cases that are all solved."""
    for result in published.results():
        if result.runnable and result.paper_parameters and comparing.experiment(result).kept("paper"):
            found = ours(result)
            missing = [cell.id for cell in result.cells if cell.id not in found and not cell.not_run]
            assert not missing, missing


def test_gaps_are_larger_where_the_reason_says_so():
    """Reasons of salman2019-barrier's Figure 3 that speak of a direction."""
    result = published.find(f"{BARRIER}/figure-3-epsilon-gap")
    found = ours(result)
    for cell in result.cells:
        if "so the gap is larger" in cell.erratum and cell.id in found:
            assert found[cell.id] > cell.printed, cell.id
