#!/usr/bin/env python3
"""page_test.py COMMAND...: the page of a violation, in a headless browser.

COMMAND writes the page to the file that stands for {page} in it, or else to standard output. The
page is opened, every row is clicked, and what the panel beside shows is compared with the data that
the page brings along. Nothing may reach the browser's console, which a planted error does.
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BROWSER = "chromium-headless-shell"

# Clicks every row and leaves what it saw in the document.
CLICKS = """<script>
const seen = [];
for (const row of document.querySelectorAll('tbody tr')) {
  row.click();
  const lane = Array.from(row.cells).findIndex((cell, i) => i > 0 && cell.textContent) - 1;
  seen.push({
    visible: row.getBoundingClientRect().height > 0,
    lane,
    text: row.cells[lane + 1].firstChild.textContent,
    badges: Array.from(row.querySelectorAll('.badge')).map(badge => badge.textContent),
    picked: Array.from(document.querySelectorAll('[aria-selected=true]')).map(r => r.rowIndex - 1),
    where: document.getElementById('where').textContent,
    locks: Array.from(document.querySelectorAll('#locks dd')).map(dd => dd.textContent),
    source: Array.from(document.querySelectorAll('#source .here')).map(s => s.textContent),
  });
}
const probe = document.createElement('pre');
probe.id = 'probe';
probe.textContent = JSON.stringify(seen);
document.body.append(probe);
</script>"""


def make_page(folder):
    path = os.path.join(folder, "page.html")
    command = [argument.replace("{page}", path) for argument in COMMAND]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 1:
        sys.exit("%s: expected exit code 1, a violation, got %d" % (command, done.returncode))
    if command == COMMAND:
        return done.stdout
    with open(path) as file:
        return file.read()


def open_page(folder, page):
    """The document as the browser sees it in the end, and what it wrote to its console."""
    path = os.path.join(folder, "opened.html")
    with open(path, "w") as file:
        file.write(page)
    profile = os.path.join(folder, "profile")
    done = subprocess.run(
        # The test is in a sandbox, and may be root, where the browser's own does not work.
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
        + ["--virtual-time-budget=10000", "--user-data-dir=" + profile]
        + ["--dump-dom", "file://" + path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"HOME": folder, "PATH": os.environ["PATH"]},
        text=True,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.split("\n") if "CONSOLE" in line]


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        page = make_page(cls.folder)
        assert page.count("</body>") == 1
        clicking = page.replace("</body>", CLICKS + "</body>")
        document, cls.console = open_page(cls.folder, clicking)
        data = re.search(r'<script [^>]*id="data">(.*?)</script>', page, re.DOTALL)
        cls.data = json.loads(data[1])
        probe = re.search(r'<pre id="probe">(.*?)</pre>', document, re.DOTALL)
        cls.seen = json.loads(html.unescape(probe[1])) if probe else []
        cls.page = page

    def test_there_is_no_console_error(self):
        self.assertEqual(self.console, [])

    def test_a_console_error_would_be_noticed(self):
        planted = "<script>throw new Error('planted')</script></body>"
        _, console = open_page(self.folder, self.page.replace("</body>", planted))
        self.assertRegex("\n".join(console), "planted")

    def test_nothing_else_is_loaded(self):
        planted = "<img src='https://example.invalid/x.png'></body>"
        _, console = open_page(self.folder, self.page.replace("</body>", planted))
        self.assertRegex("\n".join(console), "Content Security Policy")

    def test_every_step_is_shown_in_the_lane_of_its_thread(self):
        self.assertGreater(len(self.data["lines"]), 2)
        self.assertEqual(len(self.seen), len(self.data["lines"]))
        for line, seen in zip(self.data["lines"], self.seen):
            self.assertTrue(seen["visible"])
            self.assertEqual((seen["lane"], seen["text"]), (line["thread"], line["what"]))

    def test_a_click_shows_the_place_and_the_locks_that_each_thread_holds(self):
        holds = [[] for _ in range(self.data["threads"])]
        for i, (line, seen) in enumerate(zip(self.data["lines"], self.seen)):
            holds[line["thread"]] = line["holds"]
            self.assertEqual(seen["picked"], [i])
            self.assertEqual(seen["where"], line["where"])
            self.assertEqual(seen["locks"], [", ".join(locks) or "none" for locks in holds])

    def test_a_click_shows_the_line_of_the_source(self):
        for line, seen in zip(self.data["lines"], self.seen):
            if not line["file"]:
                continue
            text = self.data["source"][line["file"]][str(line["line"])]
            self.assertEqual(seen["source"], ["%5d  %s" % (line["line"], text)])

    def test_the_critical_step_and_what_conflicts_are_marked(self):
        badges = [badge for seen in self.seen for badge in seen["badges"]]
        self.assertEqual(badges.count("critical step"), 1)
        self.assertEqual(badges.count("conflict"), 2)


if __name__ == "__main__":
    COMMAND = sys.argv[1:]
    if shutil.which(BROWSER) is None:
        sys.exit("%s is missing: ./test installs the Debian package of that name" % BROWSER)
    unittest.main(argv=sys.argv[:1])
