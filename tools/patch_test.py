"""A patch is applied exactly or not at all."""

import os
import shutil
import tempfile
import unittest

import apply_patch

FILE = "one\ntwo\nthree\nfour\nfive\nsame\nx\nsame\nx\n"
HEADER = "Drops a line.\n--- a/hat/f.cc\n+++ b/hat/f.cc\n"


class PatchTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.root)

    def apply(self, patch, text=FILE):
        paths = [os.path.join(self.root, name) for name in ("p.patch", "f.cc", "out")]
        for path, content in zip(paths, (patch, text)):
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(content)
        apply_patch.apply(paths[0], paths[2], {"hat/f.cc": paths[1]})
        with open(os.path.join(paths[2], "hat/f.cc"), encoding="utf-8") as stream:
            return stream.read()

    def rejected(self, patch, words, text=FILE):
        with self.assertRaises(apply_patch.PatchError) as caught:
            self.apply(patch, text)
        self.assertIn(words, str(caught.exception))

    def test_applies(self):
        patch = HEADER + "@@ -1,3 +1,2 @@\n one\n-two\n three\n"
        self.assertEqual(self.apply(patch), FILE.replace("two\n", ""))

    def test_applies_where_the_text_moved_to(self):
        patch = HEADER + "@@ -1,3 +1,2 @@\n one\n-two\n three\n"
        self.assertTrue(self.apply(patch, "new\n" + FILE).startswith("new\none\nthree\n"))

    def test_changed_context_is_rejected(self):
        patch = HEADER + "@@ -1,3 +1,2 @@\n uno\n-two\n three\n"
        self.rejected(patch, "line 4: this hunk no longer matches hat/f.cc")

    def test_ambiguous_place_is_rejected(self):
        self.rejected(HEADER + "@@ -6,2 +6,1 @@\n same\n-x\n", "matches hat/f.cc at lines [6, 8]")

    def test_already_applied_is_rejected(self):
        patch = HEADER + "@@ -1,3 +1,2 @@\n one\n-two\n three\n"
        self.rejected(patch, "no longer matches", FILE.replace("two\n", ""))

    def test_description_and_file_list_are_required(self):
        body = "--- a/hat/f.cc\n+++ b/hat/f.cc\n@@ -1,2 +1,1 @@\n one\n-two\n"
        self.rejected(body, "say before the first hunk")
        other = "Text.\n" + body.replace("hat/f.cc", "hat/g.cc")
        self.rejected(other, "it changes ['hat/g.cc']")


if __name__ == "__main__":
    unittest.main()
