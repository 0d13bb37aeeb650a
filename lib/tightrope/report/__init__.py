"""The report: a static site with every printed number beside ours, its picture, its rows and its notebook.

It opens from disk and asks the network for nothing: one style sheet, a few lines of script for the filter, formulas as
MathML. What it shows is made from the rows (data/results), the drawings (figures/<paper>) and the executed notebooks
(figures/executed), or the stored ones where nothing was executed here.
"""

from tightrope.report.api import MISSING as NO_API
from tightrope.report.site import Site, write

__all__ = ["NO_API", "Site", "write"]
