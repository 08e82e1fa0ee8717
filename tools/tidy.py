#!/usr/bin/env python3
"""House rules that a compiler does not check. Each problem is one line: path:line: message.

  text        no tabs, no trailing spaces, a newline at the end; TODO(reason): what, never bare
  code        at most 100 columns; at most 600 lines a file, 80 lines a function
  headers     guard HATCHECK_DIR_FILE_H_
  C++         no using namespace, no fences; no std::atomic, std::mutex and the like, volatile,
              thread_local, mutable statics or globals, except in the folders listed below
  build       every .cc and .h is named in the BUILD.bazel of its package
  documents   every path written in backticks, and every link, exists
"""

import fnmatch
import os
import posixpath
import re

import tidy_functions
import workspace_files

MAX_COLUMNS = 100
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80

# Files allowed to be longer, with their own limit and the reason.
LONGER_FILES = {
    # "hat/example_test.cc": (800, "one table of cases, easier to read in one piece"),
}

# Where the engines, the simulated threads and their tests live: real threads are their business.
REAL_THREADS = ("platform/", "stress/", "explorer/", "build/selftest/")

BANNED = [
    (r"\busing\s+namespace\b", "using namespace", ()),
    (r"\batomic_(thread|signal)_fence\b", "fences: ThreadSanitizer does not follow them", ()),
    (
        r"\bstd::(atomic\w*|mutex|recursive_mutex|timed_mutex|shared_mutex|condition_variable\w*"
        r"|thread|jthread)\b",
        "use the types of platform/platform.h",
        REAL_THREADS,
    ),
    (r"\bvolatile\b", "volatile: use Atomic<T> of platform/platform.h", REAL_THREADS),
    (r"\bthread_local\b", "thread_local: state belongs to a System object", REAL_THREADS),
]
STATIC_OBJECT = re.compile(
    r"^[ \t]*(?:inline\s+)?static\s+(?!constexpr\b|consteval\b|const\b|inline\s+const)"
    r"[\w:<>,&*\s]*?[\w>&*]\s+\**&?\w+\s*(?:\[[^\]]*\]\s*)?(?:=|\{|;)",
    re.MULTILINE,
)

# Formatted code: only what is at namespace scope starts in the first column.
GLOBAL_OBJECT = re.compile(
    r"^(?!(?:inline )?(?:const|constexpr|constinit const)\b)"
    r"(?!(?:class|struct|union|enum|using|typedef|friend|extern|namespace|template|static)\b)"
    r"(?![^;={]*\* ?const )"
    r"[A-Za-z_][\w:<>,*&]*(?: [\w:<>,*&]+)* [*&]*\w+(?:\[[^\]]*\])?(?: = [^;]*|\{[^;]*\})?;",
    re.MULTILINE,
)

CPP = (".h", ".cc")
CODE = CPP + (".py", ".sh", ".bzl", ".bazel")
TEXT = CODE + (".md", ".bazelrc", ".txt", ".yml", ".json", ".gitignore")
TEXT_NAMES = {"WORKSPACE", "run", "test", ".ci/run", ".clang-format", ".clang-tidy"}
# Backticked names with these endings are file names even without a folder.
OUR_ENDINGS = (".cc", ".py", ".sh", ".bzl", ".patch")
BARE_TASK = re.compile(r"\bTO" r"DO\b(?!\([^)]+\): \S)")


def is_code(path):
    return path.endswith(CODE) or path in ("run", "test", ".ci/run")


def check_text(path, text):
    problems = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            problems.append((path, number, "tab"))
        if line != line.rstrip():
            problems.append((path, number, "trailing space"))
        if BARE_TASK.search(line):
            problems.append((path, number, "needs a reason: TODO(reason): what"))
        if is_code(path) and len(line) > MAX_COLUMNS:
            problems.append((path, number, f"{len(line)} columns, at most {MAX_COLUMNS}"))
    if text and not text.endswith("\n"):
        problems.append((path, len(lines), "no newline at the end of the file"))
    limit, _ = LONGER_FILES.get(path, (MAX_FILE_LINES, ""))
    count = text.count("\n")
    if is_code(path) and count > limit:
        problems.append((path, limit + 1, f"{count} lines, at most {limit}"))
    return problems


def check_guard(path, text):
    guard = "HATCHECK_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"
    directives = [
        (number, re.sub(r"\s+", " ", line.strip()))
        for number, line in enumerate(text.split("\n"), 1)
        if line.lstrip().startswith("#")
    ]
    wanted = [f"#ifndef {guard}", f"#define {guard}", f"#endif // {guard}"]
    found = directives[:2] + directives[-1:]
    for (number, line), want in zip(found, wanted):
        if line != want:
            return [(path, number, f"header guard: expected '{want}'")]
    return [] if len(found) == 3 else [(path, 1, f"no header guard {guard}")]


def check_cpp(path, text):
    stripped = workspace_files.strip_cpp(text)
    problems = []
    for pattern, message, allowed in BANNED:
        # Tests bring threads of their own to the virtual CPUs.
        if allowed and (path.startswith(allowed) or path.endswith("_for_test.h")):
            continue
        for match in re.finditer(pattern, stripped):
            line = workspace_files.line_of(stripped, match.start())
            problems.append((path, line, f"'{match.group(0)}' is banned here: {message}"))
    if not path.startswith(REAL_THREADS):
        for match in STATIC_OBJECT.finditer(stripped):
            start = match.start() + len(match.group(0)) - len(match.group(0).lstrip())
            line = workspace_files.line_of(stripped, start)
            problems.append((path, line, "mutable static: state belongs to a System object"))
        for match in GLOBAL_OBJECT.finditer(stripped):
            line = workspace_files.line_of(stripped, match.start())
            problems.append((path, line, "mutable global: state belongs to a System object"))
    for line, name, length in tidy_functions.functions(stripped):
        if length > MAX_FUNCTION_LINES:
            message = f"function {name}: {length} lines, at most {MAX_FUNCTION_LINES}"
            problems.append((path, line, message))
    return problems


def check_listed(root, files):
    """Every C++ file is named, or matched by a glob, in the nearest BUILD.bazel above it."""
    problems = []
    present = set(files)
    builds = {}
    for path in files:
        if not path.endswith(CPP):
            continue
        folder = posixpath.dirname(path)
        while folder and posixpath.join(folder, "BUILD.bazel") not in present:
            folder = posixpath.dirname(folder)
        build = posixpath.join(folder, "BUILD.bazel")
        if build not in present:
            problems.append((path, 1, "no BUILD.bazel above this file"))
            continue
        if build not in builds:
            text = re.sub(r"#[^\n]*", "", workspace_files.read(root, build))
            names = set(re.findall(r'"([^"\n]*)"', text))
            globs = " ".join(re.findall(r"\bglob\(.*?\)", text, re.DOTALL))
            builds[build] = names, re.findall(r'"([^"\n]*)"', globs)
        names, patterns = builds[build]
        local = posixpath.relpath(path, folder or ".")
        # A list of tests may be written by stem: "maps_test", or "maps" with "_test.cc" appended.
        stem = local.rsplit(".", 1)[0]
        spelled = {local, ":" + local, stem}
        if stem.endswith("_test") and "_test.cc" in names:
            spelled.add(stem[: -len("_test")])
        if spelled & names:
            continue
        if not any(fnmatch.fnmatch(local, pattern) for pattern in patterns):
            problems.append((path, 1, f"not listed in {build}"))
    return problems


def exists(root, folder, name, files):
    """Is `name`, as a document in `folder` writes it, a file or folder (or a pattern of files)?"""
    name = name.split("#")[0].rstrip("/") or "."
    for base in ("", folder):
        path = posixpath.normpath(posixpath.join(base, name))
        if os.path.exists(os.path.join(root, path)):
            return True
        if "*" in path and any(fnmatch.fnmatch(f, path) for f in files):
            return True
    return False


def paths_in(text, tops):
    """Yields (offset, path) for what a document presents as a path of this workspace."""
    for match in re.finditer(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", match.group(1)):
            yield match.start(1), match.group(1)
    for match in re.finditer(r"`([^`\n]+)`", text):
        for word in re.finditer(r"\S+", match.group(1)):
            token = word.group(0).strip(",;")
            label = re.match(r"^//([\w./-]*?)(?:/?\.\.\.)?(?::[\w.*-]+)?$", token)
            if label:
                token = label.group(1) or "."
            elif not re.match(r"^\.?[\w./*-]+$", token) or token.startswith(("../", "/")):
                continue
            else:
                bare = token[2:] if token.startswith("./") else token
                named = "/" not in bare and bare.endswith(OUR_ENDINGS)
                if not (bare.split("/")[0] in tops and "/" in bare) and not named:
                    continue
                token = bare
            yield match.start(1) + word.start(), token


def check_document(root, path, text, files):
    tops = {f.split("/")[0] for f in files if "/" in f}
    tops |= {"explorer", "platform", "machine", "vm", "hat", "segmap", "models", "stress"}
    tops |= {"tools", "build", "docs"}
    basenames = {posixpath.basename(f) for f in files}
    problems = []
    for offset, token in paths_in(text, tops):
        if "/" not in token and token in basenames:
            continue
        if not exists(root, posixpath.dirname(path), token, files):
            line = workspace_files.line_of(text, offset)
            problems.append((path, line, f"'{token}' does not exist"))
    return problems


def check(root):
    files = workspace_files.list_files(root)
    problems = []
    for path in files:
        if not (path.endswith(TEXT) or path in TEXT_NAMES):
            continue
        text = workspace_files.read(root, path)
        problems += check_text(path, text)
        if path.endswith(CPP):
            problems += check_cpp(path, text)
        if path.endswith(".h"):
            problems += check_guard(path, text)
        if path.endswith(".md"):
            problems += check_document(root, path, text, files)
    problems += check_listed(root, files)
    return sorted(problems)


if __name__ == "__main__":
    workspace_files.run(check, __doc__)
