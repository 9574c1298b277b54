"""What stands above tables, and how they are to look."""

from __future__ import annotations

from dataclasses import dataclass

ORIGIN = "Derived from the records by bench table; never edited."


@dataclass(frozen=True)
class Heading:
    """What stands above the sections of a page."""

    title: str
    legend: str


TRANSFER = Heading(
    "Transfer results",
    "Metrics in percent. A cell holds mean ± sample standard deviation over pretrained trunks (their number). A trunk "
    "that was measured by several seeds of the task counts by its mean: (trunks×task seeds, within: the spread of the "
    "task seeds of one trunk); of a single trunk ± is that spread. Then the difference to the baseline row and a "
    "verdict: ↑ higher, ↓ lower (Welch's t-test over trunks, two-sided, p < 0.05 after Holm's correction over the rows "
    "of a column that are compared with a baseline), ≈ these runs cannot tell the two apart, ? cannot be judged (a "
    "single value, or no spread); ¶ it is about the weights of a single trunk, and not about the method that gave "
    "them. Bold: the row with the highest mean and those that the same test, corrected over the rows that are compared "
    "with it, does not tell from it; rows that it cannot judge (a single value, or no spread) are not bold. ¶ at a "
    "bold mean: that it is bold rests on a single trunk. † published, not measured here. – no value.",
)
RESOURCES = Heading(
    "Time and memory",
    "What each stage took. s: wall seconds, mean ± sample standard deviation over runs (number of runs). MiB: the "
    "most memory that the stage's first process held, without the loader's workers; GPU MiB: the most that torch had "
    "allocated on its device; of several runs the highest (number of runs). Times compare within a machine alone. "
    "– no value.",
)


@dataclass(frozen=True)
class Look:
    """How tables look, as far as a format leaves a choice.

    With `verdicts` cells hold all that is known: numbers of runs, marks, differences and verdicts. Without, Markdown
    and LaTeX have mean and spread, and the rest in words below; a terminal's table keeps the marks.
    """

    verdicts: bool = True
    width: int = 100  # of a terminal, in characters
    styled: bool = False  # whether the terminal shows bold
    caption: str = ""  # of LaTeX; "" is the section's title
    label: str = ""  # of LaTeX; "" is made of the section's key
    made_by: str = ORIGIN  # a sentence


AS_KEPT = Look()  # of the files of a tables folder
