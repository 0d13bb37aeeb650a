"""Check certificate files from the command line: exit code 0 if all is proven, 1 if not, 2 if a file is unreadable."""

import argparse
import sys
import zipfile
from collections.abc import Sequence

import numpy as np

from tightrope.checker import Unreadable, check, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files that the arguments name, and print what became of each claim."""
    parser = argparse.ArgumentParser(prog="python -m tightrope.checker", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="certificate files")
    parser.add_argument("--network", required=True, help="the network's arrays as .npz, such as W, U, u, C, c")
    given = parser.parse_args(arguments)
    try:
        with np.load(given.network, allow_pickle=False) as archive:
            network = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        print(f"{given.network}: no .npz file of plain arrays ({error})", file=sys.stderr)
        return 2
    code = 0
    for path in given.files:
        try:
            findings = [finding for certificate in load(path) for finding in check(certificate, network)]
        except Unreadable as error:
            print(f"{path}: {error}", file=sys.stderr)
            code = 2
            continue
        for finding in findings:
            print(f"{path}: {finding}")
        if code == 0 and not all(finding.proven for finding in findings):
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
