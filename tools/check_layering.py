#!/usr/bin/env python3
"""Checks that includes follow the layers and that only the platform knows its backends.

    explorer <- platform <- machine <- vm <- hat <- segmap <- models
                                                           <- stress

A folder includes itself and folders to its left; models/ and stress/ never include each other.
Only platform/explorer/ includes explorer/, only platform/relacy/ includes Relacy. Code above the
platform neither includes a backend nor tests which one it is compiled for.
"""

import re

import workspace_files

ORDER = ["explorer", "platform", "machine", "vm", "hat", "segmap"]
TOPS = ["models", "stress"]
MAY_INCLUDE = {layer: set(ORDER[: i + 1]) for i, layer in enumerate(ORDER)}
MAY_INCLUDE.update({top: set(ORDER) | {top} for top in TOPS})
# Written once, compiled for every backend.
BACKEND_BLIND = {"machine", "vm", "hat", "segmap"}
BACKEND_FOLDER = re.compile(r"platform/(threads|relacy|explorer)/")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
CONDITION = re.compile(
    r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef|elif)\b(?:[^\n]*\\\n)*[^\n]*"
    r"\bHATCHECK_(?:ON_\w+|OBSERVE)\b",
    re.MULTILINE,
)


def judge_include(path, system, target):
    """What is wrong with one include, or None."""
    layer = path.split("/")[0]
    if system:
        if target.startswith("relacy/") and not path.startswith("platform/relacy/"):
            return "only platform/relacy/ includes Relacy"
        return None
    if "/" not in target:
        return f'"{target}": write the path from the workspace root'
    if target.startswith("relacy/") and not path.startswith("platform/relacy/"):
        return "only platform/relacy/ includes Relacy"
    goal = target.split("/")[0]
    if goal not in MAY_INCLUDE:
        return None
    if goal not in MAY_INCLUDE[layer]:
        return f'{layer}/ must not include {goal}/ ("{target}")'
    if goal == "explorer" and layer != "explorer" and not path.startswith("platform/explorer/"):
        return f'only platform/explorer/ includes explorer/ ("{target}")'
    if layer in BACKEND_BLIND and BACKEND_FOLDER.match(target):
        return f'{layer}/ must not include a backend ("{target}"); use platform/platform.h'
    return None


def check(root):
    problems = []
    for path in workspace_files.list_files(root):
        layer = path.split("/")[0]
        if layer not in MAY_INCLUDE or not path.endswith((".h", ".cc")):
            continue
        text = workspace_files.read(root, path)
        for match in INCLUDE.finditer(text):
            message = judge_include(path, match.group(1) == "<", match.group(2))
            if message:
                problems.append((path, workspace_files.line_of(text, match.start()), message))
        if layer in BACKEND_BLIND:
            for match in CONDITION.finditer(text):
                line = workspace_files.line_of(text, match.start())
                problems.append((path, line, f"{layer}/ must not depend on the backend it is on"))
    return problems


if __name__ == "__main__":
    workspace_files.run(check, __doc__)
