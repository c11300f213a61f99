"""Style sheet of the report."""

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1b1f24; font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 40px 0 10px; padding-bottom: 4px; border-bottom: 1px solid #d5dae0; }
.lead { color: #4a5460; margin: 0 0 18px; }
.answer { border-left: 4px solid #0b3c5d; background: #f1f5f9; padding: 12px 18px; margin: 16px 0; }
.answer p { margin: 0; }
.answer .label { font-weight: 600; margin-bottom: 4px; }
.warn { border-left: 4px solid #d95f02; background: #fdf4ec; padding: 10px 18px; margin: 12px 0; }
.warn ul { margin: 4px 0 0; padding-left: 18px; overflow-wrap: anywhere; }
.note, figcaption { color: #4a5460; font-size: 13px; max-width: 80ch; }
.answer .note { margin-top: 6px; }
figure { margin: 22px 0 14px; }
figure svg { max-width: 100%; min-width: 660px; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; margin: 6px 0 10px; }
th { text-align: right; font-weight: 600; vertical-align: bottom; padding: 4px 14px 6px 0;
     border-bottom: 1.5px solid #1b1f24; }
td { text-align: right; vertical-align: top; padding: 5px 14px 5px 0; border-bottom: 1px solid #e6e9ed; }
tr.start td { border-top: 1px solid #9aa4af; }
.word { text-align: left; white-space: nowrap; }
td.word:last-child { min-width: 15em; white-space: normal; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
td small { display: block; color: #5d6874; font-size: 11.5px; white-space: nowrap; }
table.gallery th, table.gallery td { border: 0; text-align: left; padding: 0 6px 4px 0; font-size: 13px; }
table.gallery th { max-width: 128px; overflow-wrap: break-word; }
table.gallery :is(th, td) { position: static; }
table.gallery td.caption { color: #4a5460; padding-top: 10px; }
td.caption span { display: inline-block; position: sticky; left: 0; max-width: min(1070px, calc(100vw - 56px)); }
table.gallery img { display: block; }
pre { background: #f1f5f9; padding: 12px 16px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
summary { cursor: pointer; font-weight: 600; margin: 8px 0; }
@media print { main { padding: 0; max-width: none; } section { break-inside: avoid-page; } }
"""
