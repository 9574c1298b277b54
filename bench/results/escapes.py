"""Names and sentences as each format must write them, so that nothing in them is taken for markup or a formula."""

from __future__ import annotations

import re


def escape_markdown(text: str) -> str:
    """Escape what GitHub's Markdown would read as markup; underscores inside words are none."""
    text = re.sub(r"([\\`*|\[\]~]|<(?=[A-Za-z/!?]))", r"\\\1", text.replace("\n", " "))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def escape_latex(text: str) -> str:
    """Escape LaTeX's special characters and write the table's signs in mathematics."""
    signs = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
    signs |= {"|": r"\textbar{}", "`": r"\textasciigrave{}"}
    signs |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    signs |= {
        "≈": r"$\approx$",
        "±": r"$\pm$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "§": r"\S{}",
        "¶": r"\P{}",
        "‖": r"$\|$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }
    signs |= {"−": "$-$", "–": r"\textendash{}", "<": "$<$", ">": "$>$", "×": r"$\times$"}
    signs |= {"…": r"\dots{}", "τ": r"$\tau$"}
    seen = "".join(sign for sign in text if sign.isprintable() or sign == "\n")
    return re.sub("-(?=-)", "-{}", "".join(signs.get(sign, sign) for sign in seen))


def guarded(text: str) -> str:
    """Return a text for a CSV file, with an apostrophe before it where a spreadsheet would compute it as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text
