"""How the page looks: one theme, light and dark, with the fonts of the visitor's system, and its small HTML parts."""

from __future__ import annotations

import html
import math

import gradio as gr

HEADER = """
<header>
  <h1>MEDFE <span>and</span> MEDFE+CAE</h1>
  <p>Draw a hole in a photograph and see it filled by the same network, trained once against a low-resolution image
  (MEDFE) and once against the code of an auto-encoder (MEDFE+CAE).</p>
</header>
"""

FEATURES = """
<p class="status">While a model fills the hole, one of its features is to hold structure, the other texture. MEDFE was
trained to match a shrunken picture with three channels of them, MEDFE+CAE to match the code of an auto-encoder with all
channels. Here they are turned into pictures, by read-out or decoder, each beside its target.</p>
"""

_SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build_theme() -> gr.themes.Base:
    """Return the theme."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.zinc,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="white",
        block_label_background_fill_dark="*neutral_900",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
    )


def status(text: str, error: bool = False, run: str = "") -> str:
    """Return the status line; screen readers speak it, an error at once. `run` names the run that it tells of."""
    role = "alert" if error else "status"
    return f'<p class="status{" error" if error else ""}" role="{role}" data-run="{run}">{html.escape(text)}</p>'


def numbers(l1: float, psnr: float, ssim: float, milliseconds: float) -> str:
    """Return the line below a result: L1 in units of [0, 1], PSNR in dB, SSIM, time in milliseconds."""
    values = {
        "L1": (f"{l1:.4f}", "mean absolute difference in the hole, 0 to 1; lower is better"),
        "PSNR": ("∞ dB" if math.isinf(psnr) else f"{psnr:.1f} dB", "in the hole; higher is better"),
        "SSIM": ("–" if math.isnan(ssim) else f"{ssim:.3f}", "in the hole, 1 is equal; higher is better"),
        "time": (f"{milliseconds:.0f} ms", "from picture and mask to the filled picture"),
    }
    cells = (f'<div title="{title}"><dt>{name}</dt><dd>{value}</dd></div>' for name, (value, title) in values.items())
    return f"<dl>{''.join(cells)}</dl>"


def difference_scale(colors: list[str], end: float) -> str:
    """Return the scale of the difference pictures, from 0 to `end` (units of [0, 1])."""
    grey_levels = f"{255 * end:.0f}"
    return (
        f'<div class="scale" role="img" aria-label="Scale: black is 0, bright is {grey_levels} grey levels">'
        f'<span>0</span><i style="background:linear-gradient(90deg,{",".join(colors)})"></i>'
        f"<span>{grey_levels} of 255 grey levels</span></div>"
    )
