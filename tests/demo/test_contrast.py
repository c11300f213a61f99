"""Contrast of colours, by the Web Content Accessibility Guidelines: 4.5 for text, 3 for marks of focus."""

import re
from pathlib import Path

import pytest

from demo.style import CSS
from demo.theme import build_theme

PAGE = (Path(__file__).parents[2] / "demo" / "label_page" / "label.css").read_text(encoding="utf-8")
BLOCKS = re.findall(r":root {(.*?)}", PAGE, re.DOTALL)
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in BLOCKS)
THEME = build_theme()


def luminance(color):
    digits = color.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    values = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def color(value):
    """Return a colour of the theme: `*primary_700` and `white` are names."""
    return {"white": "#fff"}.get(value) or (getattr(THEME, value[1:]) if value.startswith("*") else value)


def ring(selector):
    """Return the colour of the app's mark of focus in a rule of its style sheet."""
    rule = re.search(rf"^{re.escape(selector)} {{(.*?)}}", CSS, re.MULTILINE)[1]
    return color("*" + re.search(r"var\(--([\w-]+)\)", rule)[1].replace("-", "_"))


def test_the_formula_is_that_of_the_guidelines():
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("colors", [LIGHT, {**LIGHT, **DARK}], ids=["light", "dark"])
def test_text_and_the_mark_of_focus_stand_out_on_the_page_of_a_study(colors):
    for ground in ("ground", "block"):
        assert contrast(colors["ring"], colors[ground]) >= 3
        for text in ("text", "quiet", "error", "right"):
            assert contrast(colors[text], colors[ground]) >= 4.5
    for fill in ("primary", "primary-hover"):
        assert contrast(colors["on-primary"], colors[fill]) >= 4.5


@pytest.mark.parametrize(("ending", "selector"), [("", ":focus-visible"), ("_dark", ".dark :focus-visible")])
def test_text_and_the_mark_of_focus_stand_out_in_the_app(ending, selector):
    for ground in ("body_background_fill", "block_background_fill"):
        own = color(getattr(THEME, ground + ending))
        assert contrast(ring(selector), own) >= 3
        assert contrast(color(getattr(THEME, "body_text_color_subdued" + ending)), own) >= 4.5
    for fill in ("button_primary_background_fill", "button_primary_background_fill_hover"):
        assert contrast(color(THEME.button_primary_text_color), color(getattr(THEME, fill + ending))) >= 4.5
