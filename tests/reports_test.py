"""The pages of all jobs, `solve` and `compare`, looked at by a browser (headless Chromium) on files with hostile names: they fit
screens of 390 and 1280 pixels, sort their tables, have a dark mode, and run no script but their own.

    reports_test.py PROGRAM    exit code 77: there is no Chromium
"""
import atexit
import base64
import functools
import hashlib
import html
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

PROGRAM = ""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCRIPT, IMAGE = '<script>document.title="hit"</script>', '"><img src=x onerror=document.title="hit">'
QUOTE = '\'"&</td></table></style></title>'
WIDTHS = (390, 1280)
SKIPPED = 77

# Shows every page in a frame of every width and writes what it sees into the one element of this page. A frame is as wide as
# it says, whatever the least width of a window.
LOOK = """<!DOCTYPE html><meta charset="utf-8"><pre id="seen"></pre><script>
const frame = (url, width) => new Promise(done => {
  const f = document.createElement("iframe");
  f.style = `border: 0; width: ${width}px; height: 800px`;
  f.onload = () => done(f);
  f.src = url;
  document.body.append(f);
});
const luminance = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v > .04045 ? ((v + .055) / 1.055) ** 2.4 : v / 12.92).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
function sorted(d) {
  let tables = 0;
  for (const table of d.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], column = heads.length - 1;
    const cells = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
    const before = cells(), states = [], orders = [];
    for (let i = 0; i < 3; ++i) {
      const button = heads[column].querySelector("button");
      button.focus();
      if (d.activeElement !== button) return "not reached by keys";
      button.click();
      states.push(heads[column].getAttribute("aria-sort"));
      orders.push(cells());
    }
    if (states.join() !== "ascending,descending,none") return states.join();
    if (orders[2].join() !== before.join()) return "not as it was: " + before;
    if ([...orders[0]].sort().join() !== [...before].sort().join()) return "other rows: " + orders[0];
    const up = orders[0].filter(t => t !== "\\u2013"), down = orders[1].filter(t => t !== "\\u2013").reverse();
    const numbers = up.map(t => parseFloat(t.replace(/\\s/g, "")));
    if (numbers.every(n => !isNaN(n))) {
      if (numbers.some((n, i) => i > 0 && numbers[i - 1] > n)) return "not up: " + up;
      const falling = down.map(t => parseFloat(t.replace(/\\s/g, "")));
      if (falling.some((n, i) => i > 0 && falling[i - 1] > n)) return "not down: " + down;
    }
    ++tables;
  }
  return tables;
}
(async () => {
  const seen = [];
  for (const url of URLS) {
    for (const width of WIDTHS) {
      const f = await frame(url, width), d = f.contentDocument, root = d.documentElement;
      d.querySelectorAll("details").forEach(e => e.open = true);
      const style = f.contentWindow.getComputedStyle(d.body), card = d.querySelector("section");
      const back = luminance(f.contentWindow.getComputedStyle(card).backgroundColor);
      seen.push({url, width, inner: f.contentWindow.innerWidth, scroll: root.scrollWidth, client: root.clientWidth,
        title: d.title, heading: d.querySelector("h1").textContent, scripts: d.scripts.length,
        foreign: d.querySelectorAll("[onerror], [onload], link, iframe, object, a, img:not([src^='data:'])").length,
        contrast: [...d.querySelectorAll("p, th, td, .value, pre")].map(e => contrast(back,
            luminance(f.contentWindow.getComputedStyle(e).color))).reduce((a, b) => Math.min(a, b), 21),
        page: luminance(style.backgroundColor), pictures: [...d.querySelectorAll("figure img")].map(i => i.naturalWidth),
        filter: d.querySelector("figure img") && f.contentWindow.getComputedStyle(d.querySelector("figure img")).filter,
        headings: [...d.querySelectorAll("h2, summary")].map(e => e.textContent),
        verdict: (d.querySelector(".verdict") || {textContent: ""}).textContent,
        command: d.querySelector("main > section:last-of-type pre").textContent,
        samples: [...d.querySelectorAll("th .sample")].map(e => e.parentElement.textContent + e.firstChild.getAttribute("stroke")),
        text: d.body.textContent, sorted: sorted(d)});
      f.remove();
    }
  }
  document.getElementById("seen").textContent = JSON.stringify(seen);
  document.title = "done";
})();
</script>"""


def cells(rows):
    quote = lambda cell: '"' + str(cell).replace('"', '""') + '"'
    return "".join(",".join(map(quote, row)) + "\n" for row in rows)


def table(rows, seed):
    """Two numbers, a category and a text, and one of two classes, which follows from them but for some noise."""
    rng = random.Random(seed)
    found = [[SCRIPT, IMAGE, QUOTE, "text", "label" + IMAGE]]
    for i in range(rows):
        a, b = rng.gauss(0, 1), rng.gauss(0, 1)
        positive = a + b + rng.gauss(0, .7) > 0
        found.append([f"{a:.3f}", f"{b:.3f}", rng.choice([SCRIPT, IMAGE, "plain"]),
                      f"row {seed} {i} " + rng.choice([SCRIPT, IMAGE]), SCRIPT if positive else IMAGE])
    return cells(found)


def many_classes(rows):
    rng = random.Random(5)
    found = [[SCRIPT, IMAGE, "label"]]
    for i in range(rows):
        c = i % 12
        found.append([f"{c % 4 + rng.gauss(0, .5):.3f}", f"{c // 4 + rng.gauss(0, .5):.3f}", f"{c} {SCRIPT if c % 2 else IMAGE}"])
    return cells(found)


@functools.lru_cache
def pages():
    """Folder, and the page of each command by name."""
    folder = pathlib.Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for name, rows in (("train", 240), ("valid", 120), ("test", 120), ("trusted", 80)):
        (folder / f"{name}{IMAGE}.csv").write_text(table(rows, len(name)))
    (folder / "many.csv").write_text(many_classes(360))
    file = lambda name: f"{name}{IMAGE}.csv"
    label = ["--label", "label" + IMAGE]
    columns = ["--features", ",".join((SCRIPT, QUOTE))]
    runs = {
        "auc": ["auc", "--train", file("train"), "--test", file("test"), *label, "--positive", SCRIPT, "--text", "text",
                "--steps", "20"],
        "clean": ["clean", "--train", file("train"), "--trusted", file("trusted"), "--test", file("test"), *label, "--steps", "10",
                  "--inject-noise", "0.2"],
        "tune": ["tune", "--train", file("train"), "--valid", file("valid"), "--test", file("test"), *label, "--steps", "20"],
        "meta": ["meta", "--data", "many.csv", "--label", "label", "--ways", "2", "--shots", "3", "--queries", "5", "--steps", "5",
                 "--test-episodes", "50", "--valid-episodes", "20", "--encoder", "mlp", "--hidden", "4"],
        "solve": ["solve", "p1", "--steps", "50", "--set", "upper_step_size=0.03"],
        "compare": ["compare", "--solvers", "soba,adambo,slip", "--seeds", "2", "--tune", "3", "--steps", "20", "auc", "--train",
                    file("train"), *columns, *label, "--positive", SCRIPT],
    }
    found = {}
    for name, arguments in runs.items():
        out = f"{name}{IMAGE}"
        line = [PROGRAM, *arguments, "--out", out, "--quiet"]
        if name == "compare":
            at = arguments.index("auc")
            line = [PROGRAM, *arguments[:at], "--out", out, "--quiet", *arguments[at:]]
        run = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120)
        if run.returncode != 0:
            raise AssertionError(f"{line}: {run.stderr}")
        (folder / f"{name}.html").write_bytes((folder / out / "report.html").read_bytes())
        found[name] = (folder / f"{name}.html").read_text()
    return folder, found


@functools.lru_cache
def seen(dark):
    """What Chromium sees, by page and width; "broken" is a page into which a script has found its way."""
    folder, found = pages()
    (folder / "broken.html").write_text(found["auc"].replace("<h1>", f'{SCRIPT}<img src="data:," onerror="document.title=1"><h1>', 1))
    urls = [f"{name}.html" for name in (*found, "broken")]
    (folder / "look.html").write_text(LOOK.replace("URLS", json.dumps(urls)).replace("WIDTHS", json.dumps(WIDTHS)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as profile:
            run = subprocess.run(
                [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--hide-scrollbars",
                 f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=60000", "--window-size=1400,900",
                 "--dump-dom", f"http://127.0.0.1:{server.server_port}/look.html"],
                capture_output=True, text=True, timeout=120)
    finally:
        server.shutdown()
        server.server_close()
    shown = re.search(r'<pre id="seen">(.*?)</pre>', run.stdout, re.S)
    if not shown or not shown.group(1):
        raise AssertionError(f"Chromium has not looked at the pages: {run.stdout[-2000:]} {run.stderr[-2000:]}")
    return {(view["url"].removesuffix(".html"), view["width"]): view for view in json.loads(html.unescape(shown.group(1)))}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_):
        pass


class Reports(unittest.TestCase):
    def views(self, dark=False):
        for (name, width), view in seen(dark).items():
            with self.subTest(page=name, width=width, dark=dark):
                yield name, view

    def test_the_frames_are_as_wide_as_they_say(self):
        self.assertEqual(len(seen(False)), 7 * len(WIDTHS))
        for _, view in self.views():
            self.assertEqual(view["inner"], view["width"])

    def test_nothing_overflows(self):
        for dark in (False, True):
            for _, view in self.views(dark):
                self.assertLessEqual(view["scroll"], view["client"])

    def test_no_script_of_the_data_runs(self):
        for name, view in self.views():
            self.assertEqual(view["title"], view["heading"])
            if name != "broken":
                self.assertEqual((view["scripts"], view["foreign"]), (1, 0))
                self.assertIn("document.title=\"hit\"" if name != "solve" else "adambo", view["text"])

    def test_the_policy_stops_a_script_that_found_its_way(self):
        view = seen(False)["broken", 390]
        self.assertEqual((view["scripts"], view["foreign"]), (2, 1), "it is there")
        self.assertEqual(view["title"], view["heading"])
        self.assertGreater(view["sorted"], 0, "the page's own runs")

    def test_tables_sort(self):
        least = {"auc": 5, "clean": 3, "tune": 2, "meta": 1, "compare": 4, "solve": 0}
        for name, view in self.views():
            if name in least:
                self.assertIsInstance(view["sorted"], int)
                self.assertGreaterEqual(view["sorted"], least[name])

    def test_dark_differs_and_both_can_be_read(self):
        for key, light in seen(False).items():
            dark = seen(True)[key]
            with self.subTest(page=key):
                self.assertGreater(light["page"], 0.8)
                self.assertLess(dark["page"], 0.05)
                for view in (light, dark):
                    self.assertGreaterEqual(view["contrast"], 4.5)
                if light["filter"]:
                    self.assertEqual(light["filter"], "none")
                    self.assertIn("invert", dark["filter"])
                    self.assertTrue(all(width > 0 for width in light["pictures"]))

    def test_all_have_the_same_structure(self):
        model = ["Data", "Use the model", "Cost", "How this was made"]
        for name, view in self.views():
            if name == "broken":
                continue
            self.assertTrue(view["verdict"].endswith("."), view["verdict"])
            self.assertEqual(view["headings"][-1:] if name in ("solve", "compare") else view["headings"][-4:],
                             model[-1:] if name in ("solve", "compare") else model)
            self.assertIn("Curves", view["headings"])
            self.assertTrue(view["command"].startswith(f"{PROGRAM} {name} "), view["command"])
            self.assertRegex(view["text"], r"bilevel \d+\.\d+\.\d+, begun on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.")

    def test_the_command_line_is_what_a_shell_needs(self):
        line = seen(False)["tune", 390]["command"].replace(PROGRAM, "printf '%s\\n'", 1)
        words = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()
        self.assertEqual(words[:3], ["tune", "--train", f"train{IMAGE}.csv"])

    def test_colours_follow_the_list_and_trials_are_shown(self):
        view = seen(False)["compare", 1280]
        colours = {re.match(r"[\w-]+", sample).group(): sample[-7:] for sample in view["samples"]}
        self.assertEqual(colours, {"soba": "#0072B2", "adambo": "#D55E00", "slip": "#009E73"})
        self.assertIn("All trials", view["headings"])


class Policy(unittest.TestCase):
    def test_it_names_the_script(self):
        for name, page in pages()[1].items():
            script = re.findall(r"<script>(.*?)</script>", page, re.S)
            self.assertEqual(len(script), 1, name)
            digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
            self.assertIn(f"script-src 'sha256-{digest}'", page, "write this one into bilevel/report/page_assets.cpp")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    if CHROMIUM is None:
        ran = unittest.main(defaultTest="Policy", exit=False).result
        if not ran.wasSuccessful():
            sys.exit(1)
        print("SKIPPED: no Chromium (Debian: apt-get install chromium), so no page was looked at")
        sys.exit(SKIPPED)
    unittest.main()
