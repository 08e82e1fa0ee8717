"""Finds the functions of a C++ file by their braces; good enough for formatted code."""

import re

CONTAINER = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b[^()]*$")
ATTRIBUTE = re.compile(r"\b(?:[A-Z][A-Z0-9_]+|alignas)\([^()]*\)|\[\[.*?\]\]")


def _is_container(head):
    head = ATTRIBUTE.sub(" ", re.sub(r"<[^<>]*>", " ", head))
    return bool(CONTAINER.search(head))


def functions(stripped):
    """Yields (line, name, number of lines) for text whose comments and literals are blanked."""
    text = re.sub(
        r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*",
        lambda m: re.sub(r"[^\n]", " ", m.group(0)),
        stripped,
        flags=re.MULTILINE,
    )
    containers = 0  # open namespaces and classes
    depth = 0  # open braces inside a function or an initializer
    begin = head_start = 0
    for match in re.finditer(r"[{};]", text):
        at, char = match.start(), match.group(0)
        if depth > 0:
            depth += {"{": 1, "}": -1}.get(char, 0)
            if depth == 0 and char == "}":
                # `: a_{1}, b_{2} {` is still the head of one function.
                if re.match(r"\s*[,{]", text[at + 1 :]) and "(" in text[head_start:begin]:
                    continue
                head = text[head_start:begin]
                if "(" in head:
                    yield _describe(text, head, head_start, at)
                head_start = at + 1
            continue
        if char == "{":
            if _is_container(text[head_start:at]):
                containers += 1
                head_start = at + 1
            else:
                depth, begin = 1, at
        else:
            if char == "}":
                containers -= 1
            head_start = at + 1


def _describe(text, head, head_start, end):
    first = head_start + len(head) - len(head.lstrip())
    label = re.match(r"(?:public|private|protected)\s*:\s*", text[first:])
    first += label.end() if label else 0
    name = re.search(r"([\w:~]+|operator\S+)\s*\(", text[first:end])
    start_line = text.count("\n", 0, first) + 1
    end_line = text.count("\n", 0, end) + 1
    return start_line, name.group(1) if name else "?", end_line - start_line + 1
