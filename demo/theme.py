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
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
    )


def status(text: str, error: bool = False) -> str:
    """Return the status line; screen readers speak it, an error at once."""
    role = "alert" if error else "status"
    return f'<p class="status{" error" if error else ""}" role="{role}">{html.escape(text)}</p>'


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


CSS = """
.gradio-container { max-width: 1400px !important; margin: 0 auto !important; }
footer { display: none !important; }
:focus-visible { outline: 3px solid var(--primary-500) !important; outline-offset: 2px; }

#header h1 { font-size: 1.7rem; font-weight: 700; letter-spacing: -0.02em; margin: 0 0 0.15rem; }
#header h1 span { font-weight: 400; color: var(--body-text-color-subdued); }
#header p { max-width: 100ch; margin: 0; line-height: 1.5; color: var(--body-text-color-subdued); }

/* Titles stand above pictures, not on them. */
#samples > label, #views > label, .picture > label {
  position: static; border: 0; padding: 5px 8px; background: none; box-shadow: none; font-weight: 600;
}
#samples > label svg, #views > label svg, .picture > label svg { display: none; }
#samples > label > span, #views > label > span, .picture > label > span { margin: 0; }

#samples :is(.gallery-container, .grid-wrap, .grid-container, .gallery-item),
#views :is(.gallery-container, .grid-wrap, .grid-container, .gallery-item) {
  height: auto !important; min-height: 0 !important; grid-auto-rows: auto !important;
}
#samples .grid-wrap { max-height: 158px; padding: 0 8px 8px; }
#samples .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(62px, 1fr)) !important; gap: 6px; padding: 0 !important;
}
#samples .caption-label { display: none; }
#samples .thumbnail-item { aspect-ratio: 1; height: auto; }

/* It would take the photograph away as well; the button Clear takes the hole alone. */
#editor button[aria-label="Clear canvas"], #editor button[aria-label="Color"] { display: none; }

.tools { display: grid !important; grid-template-columns: repeat(5, 1fr); gap: 8px; align-items: center; }
.rules { grid-template-columns: repeat(5, 1fr) 1.7fr; }
.tools > * { min-width: 0 !important; }
.tools .form, .run .form, .below .form { border: 0; background: none; box-shadow: none; }
#seed, #blind { padding: 0; border: 0; background: none; overflow: visible; }
#seed label { display: flex; align-items: center; gap: 6px; }
#seed label > span { margin: 0; font-size: var(--text-sm); }
#seed input { padding: 3px 6px; min-width: 0; background: var(--block-background-fill); }
.run { align-items: center; gap: 12px; }
.run > * { flex: 1 1 220px; min-width: 200px !important; }

.status { margin: 0; line-height: 1.45; color: var(--body-text-color-subdued); }
.status.error { color: #b42318; font-weight: 600; }
.dark .status.error { color: #ff9c91; }

.panels { display: grid !important; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px; }
.panels > * { min-width: 0 !important; gap: 4px; }
.picture .image-container { height: auto !important; }
.picture .image-container > button { display: block; width: 100%; }
.picture .image-frame { aspect-ratio: 1; width: 100%; height: auto; overflow: hidden; cursor: zoom-in; }
.picture img { width: 100% !important; height: 100% !important; object-fit: contain; transition: transform 120ms; }
.magnified .picture img { transform: scale(3); transform-origin: var(--at-x, 50%) var(--at-y, 50%); }
.magnified .picture .image-frame { cursor: zoom-out; }
.picture .empty { aspect-ratio: 1; height: auto !important; min-height: 0 !important; opacity: 0.4; }

.numbers dl { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0 8px; font-size: 0.82rem; }
.numbers dl > div { display: flex; gap: 5px; }
.numbers dt { color: var(--body-text-color-subdued); }
.numbers dd { margin: 0; font-variant-numeric: tabular-nums; font-weight: 600; }

#views .grid-wrap { max-height: none; }
#views .grid-container { padding: 0 !important; grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
#views .gallery-item, #views .thumbnail-item { height: auto; aspect-ratio: auto; }
#views .thumbnail-item img { aspect-ratio: 1; image-rendering: pixelated; }
#views .caption-label { position: static; max-width: none; white-space: normal; text-align: center; }

.below { align-items: center; gap: 12px; }
.below > * { flex: 1 1 280px; min-width: 200px !important; }
#show .wrap { flex-wrap: nowrap; }
#show label { white-space: nowrap; padding: 5px 9px; font-size: 0.85rem; }
.scale { display: flex; align-items: center; gap: 8px; font-size: 0.82rem; white-space: nowrap; }
.scale i { flex: 1; height: 12px; border-radius: 3px; min-width: 60px; }
#save button[aria-label="Remove this file"], #save .label-clear-button { display: none; }

@media (max-width: 640px) {
  .gradio-container { padding: 8px !important; }
  #header h1 { font-size: 1.4rem; }
  #editor { height: 380px !important; }
  .tools { grid-template-columns: repeat(5, 1fr); gap: 6px; }
  .rules { grid-template-columns: repeat(3, 1fr); }
  .tools button { padding-left: 2px; padding-right: 2px; }
  #show .wrap { flex-wrap: wrap; }
  .panels { gap: 8px; }
  #views .grid-wrap { max-height: none; }
#views .grid-container { padding: 0 !important; grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
  .numbers dl { font-size: 0.75rem; gap: 1px 8px; margin: 0 4px; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
"""

HEAD = """
<script>
(() => {
  const give = (files) => {
    const picture = [...(files || [])].find((file) => file.type.startsWith('image/'));
    const input = document.querySelector('input[type=file]:has(+ #upload)');
    if (!picture || !input) return false;
    const list = new DataTransfer();
    list.items.add(picture);
    input.files = list.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
    return true;
  };
  const taken = (event) => { event.preventDefault(); event.stopPropagation(); };
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') {
      event.preventDefault();
      document.getElementById('fill')?.click();
    }
  });
  document.addEventListener('paste', (event) => {
    if (give(event.clipboardData?.files)) taken(event);
  }, true);
  document.addEventListener('dragover', (event) => {
    if (event.dataTransfer?.types.includes('Files')) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (give(event.dataTransfer?.files)) taken(event);
  }, true);

  // The canvas measures its place once while it loads and misses later changes of the layout; this reminds it.
  let reminders = 40;
  const remind = setInterval(() => {
    const canvas = document.querySelector('#editor canvas');
    const place = canvas?.parentElement;
    if (place && Math.abs(canvas.clientWidth - place.clientWidth) > 1) {
      place.style.width = `${place.clientWidth - 1}px`;
      setTimeout(() => { place.style.width = ''; }, 100);
    }
    if (--reminders === 0) clearInterval(remind);
  }, 250);

  const frameAt = (event) => event.target.closest?.('.panels .picture img');
  const lookAt = (event) => {
    const picture = frameAt(event);
    const panels = picture?.closest('.panels');
    if (!panels) return;
    const frame = picture.parentElement.getBoundingClientRect();
    panels.style.setProperty('--at-x', `${100 * (event.clientX - frame.left) / frame.width}%`);
    panels.style.setProperty('--at-y', `${100 * (event.clientY - frame.top) / frame.height}%`);
  };
  document.addEventListener('pointermove', lookAt);
  document.addEventListener('click', (event) => {
    lookAt(event);
    frameAt(event)?.closest('.panels').classList.toggle('magnified');
  });
})();
</script>
"""
