"""The page's style sheet: light and dark by the reader's preference, always light on paper."""

STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#59636e;
--line:#d8dee4;--pass:#1a7f37;--warn:#8a5a00;--fail:#cf222e;--skip:#59636e;--note:#7a4dbf}
@media (prefers-color-scheme:dark){:root{--ground:#0f1318;--card:#171c23;--ink:#e6eaf0;
--soft:#9aa5b1;--line:#2c343e;--pass:#3fb950;--warn:#d9a03f;--fail:#ff6b62;--skip:#9aa5b1;
--note:#b392f0}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem}
h1{font-size:1.5rem;margin:0 0 1rem}h2{font-size:1.35rem;margin:0}h3{font-size:1.05rem;
margin:1.75rem 0 .25rem}p{margin:.25rem 0}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:1.25rem 1.5rem;margin:0 0 1.5rem}
header{display:flex;flex-wrap:wrap;align-items:center;gap:.75rem}
.why,section>p{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.2rem 1.25rem;margin:1rem 0 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;margin:.5rem 0 0;font-size:.9rem}
table.overview{background:var(--card);border:1px solid var(--line);margin-bottom:1.5rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--soft);font-weight:600}
td{overflow-wrap:anywhere}.checks td:first-child,.overview td:first-child{width:7.5rem}
.checks td:nth-child(2){white-space:nowrap}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
a{color:inherit}
.badge{display:inline-block;border:1.5px solid currentColor;border-radius:99px;padding:0 .55rem;
font-size:.78rem;font-weight:700;letter-spacing:.02em;white-space:nowrap}
.pass{color:var(--pass)}.fail,.error{color:var(--fail)}.warn{color:var(--warn)}
.skip{color:var(--skip)}.no_reference,.waived{color:var(--note)}
.level{color:var(--soft)}.level-simulated{color:var(--note);font-weight:700}
.level-none{color:var(--fail);font-weight:700}
.legend{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.35rem 1.5rem;
color:var(--soft);font-size:.85rem}
@media (max-width:40rem){dl{grid-template-columns:1fr}dt{margin-top:.4rem}
.checks,.checks tbody,.checks tr,.checks td{display:block;width:auto}.checks thead{display:none}
.checks td{border:0;padding:.05rem 0}.checks tr{border-top:1px solid var(--line);padding:.5rem 0}
.checks td:first-child{width:auto}
.checks td:nth-child(3):not(:empty)::before{content:"measured: ";color:var(--soft)}
.checks td:nth-child(4):not(:empty)::before{content:"expected: ";color:var(--soft)}}
@media print{:root{color-scheme:light;--ground:#fff;--card:#fff;--ink:#000;--soft:#444;
--line:#bbb;--pass:#14652b;--warn:#704900;--fail:#b01822;--skip:#444;--note:#5b349c}
main{max-width:none;padding:0}section{border:0;padding:0;border-radius:0}
section+section{break-before:page}tr,dl{break-inside:avoid}thead{display:table-header-group}
body{font-size:10pt}}
"""
