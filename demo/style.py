"""Style sheet of the page."""

CSS = """
.gradio-container { width: 100%; max-width: 1400px !important; margin: 0 auto !important; }
.gradio-container .main.app { padding: clamp(8px, calc((100vw - 480px) / 4), 32px) !important; }
footer { display: none !important; }
:focus-visible { outline: 3px solid var(--primary-700) !important; outline-offset: 2px; }
.dark :focus-visible { outline-color: var(--primary-500) !important; }

#header h1 { font-size: 1.7rem; font-weight: 700; letter-spacing: -0.02em; margin: 0 0 0.15rem; }
#header h1 span { font-weight: 400; color: var(--body-text-color-subdued); }
#header p { max-width: 100ch; margin: 0; line-height: 1.5; color: var(--body-text-color-subdued); }

/* Titles stand above pictures, not on them. */
#samples > label, #views > label, .picture > label {
  position: static; border: 0; padding: 5px 8px; background: none; box-shadow: none; font-weight: 600;
}
#samples > label > span, #views > label > span, .picture > label > span { display: none; }

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

.picture > label { padding-right: 60px; }
.picture:not(.fullscreen) .icon-button-wrapper { top: -28px; border: 0; background: none; box-shadow: none; }

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
#save .filename .stem { overflow: visible; white-space: normal; overflow-wrap: anywhere; }
#save button[aria-label="Remove this file"], #save .label-clear-button { display: none; }

#tabs { width: 100%; min-width: 0 !important; }
#tabs .column, #tabs .row > * { min-width: 0; }
.block.prose-box { padding: 0 12px; }
.prose-box :is(p, ul, ol, .code_wrap) { max-width: 80ch; }
.prose-box :is(h1, h2), #models h2 { letter-spacing: -0.01em; }
.prose-box :is(pre, pre code) { white-space: pre-wrap !important; overflow-wrap: anywhere; }
#models h2 { font-size: 1.25rem; font-weight: 600; margin: 0 0 6px; }

.prose-box table { display: block; overflow-x: auto; }
#report-tables .wide, #models .wide { overflow-x: auto; }
#tabs :is(.prose-box, #report-tables, #models) table {
  border-collapse: collapse; border: 0; width: auto; margin: 4px 0 8px; font-size: 0.85rem;
  font-variant-numeric: tabular-nums;
}
#tabs table tr { border: 0; }
#tabs table :is(th, td) {
  padding: 5px 18px 5px 0; border: 0; border-bottom: 1px solid var(--border-color-primary); background: none;
  vertical-align: top; word-break: normal; overflow-wrap: normal;
}
.prose-box table :is(th, td):not([align], [style]), #tabs table :is(th, td).word { text-align: left; }
#tabs table :is(th, td).number { text-align: right; white-space: nowrap; }
.prose-box td:not(:first-child, :last-child) { white-space: nowrap; }
.prose-box td { min-width: 7em; }
.prose-box td:not(:first-child, :last-child) { min-width: 0; }
#report-figures h2, #report-tables h2 { font-size: 1.25rem; font-weight: 600; margin: 12px 0 6px; }
.prose-box details { margin: 8px 0; }
.prose-box summary { cursor: pointer; font-weight: 600; }
#report-tables details { border-top: 1px solid var(--border-color-primary); padding: 10px 0; }
#report-tables summary { cursor: pointer; font-weight: 600; }
#report-tables summary span, .note { font-weight: 400; color: var(--body-text-color-subdued); font-size: 0.85rem; }
.note { margin: 4px 0; overflow-wrap: anywhere; }
#report-figures figure { margin: 12px 0; }
#report-figures figure img, .prose-box img { max-width: 100%; height: auto; background: white; border-radius: 6px; }

.forest { max-width: 720px; }
.forest figcaption { font-size: 0.85rem; color: var(--body-text-color-subdued); }
.forest h3 { font-size: 0.95rem; font-weight: 600; margin: 14px 0 4px; }
.contrast p { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px; margin: 6px 0 2px; }
.contrast p { font-size: 0.85rem; font-variant-numeric: tabular-nums; }
.contrast p b { font-weight: 600; }
.track { position: relative; height: 16px; border-radius: 4px; background: var(--border-color-primary); }
.track::after { content: ""; position: absolute; inset: 0 auto 0 50%; border-left: 1px solid currentColor; }
.track i { position: absolute; top: 5px; height: 6px; border: 1.5px solid var(--primary-600); border-radius: 3px; }
.track em { position: absolute; top: 1px; height: 14px; width: 4px; margin-left: -2px; background: var(--primary-600); }
.contrast.primary .track i { background: var(--primary-500); }
.axis { display: flex; justify-content: space-between; font-size: 0.75rem; color: var(--body-text-color-subdued); }

.idea { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 12px; }
.idea figure {
  margin: 0; padding: 12px 14px; border: 1px solid var(--block-border-color); border-radius: var(--block-radius);
  background: var(--block-background-fill);
}
.idea h3 { font-size: 0.95rem; font-weight: 600; margin: 0 0 4px; min-height: 2.6em; }
.idea figcaption { font-size: 0.88rem; line-height: 1.45; color: var(--body-text-color-subdued); }
.idea svg { width: 100%; height: auto; color: var(--body-text-color); }
.idea text { font: 14px var(--font); fill: currentColor; text-anchor: middle; }
.idea text.compare { font-size: 26px; }
.idea .arrow { stroke: currentColor; stroke-width: 1.4; }
.idea .plane { fill: var(--block-background-fill); stroke: var(--body-text-color-subdued); }
.idea .lit { fill: var(--primary-500); stroke: var(--block-background-fill); }

@media (max-width: 640px) {
  #header h1 { font-size: 1.4rem; }
  #editor { height: 380px !important; }
  .tools { grid-template-columns: repeat(5, 1fr); gap: 6px; }
  .rules { grid-template-columns: repeat(3, 1fr); }
  .tools button { padding-left: 2px; padding-right: 2px; }
  #show .wrap { flex-wrap: wrap; }
  .panels { gap: 8px; }
  #views .grid-container { padding: 0 !important; grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
  .numbers dl { font-size: 0.75rem; gap: 1px 8px; margin: 0 4px; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
"""
