"""One source, one target per backend.

A *backend* is an engine that runs the threads. Code above the platform never names one:
`hc_library(name = "hat", deps = ["//vm:vm"])` emits `:hat_<backend>` for every row of BACKENDS,
each depending on `//vm:vm_<backend>`, and so on down to `//platform:platform_<backend>`, which
carries the defines that select the backend in platform/platform.h.
"""

load(":cc.bzl", "cc_binary", "cc_library", "cc_test")

def _backend(
        defines,
        copts = [],
        precompiled = "plain",
        gtest = True,
        shows_source = False,
        on_request = False):
    return struct(
        defines = defines,
        copts = copts,
        precompiled = precompiled,
        gtest = gtest,
        shows_source = shows_source,
        tags = ["manual"] if on_request else [],
    )

# To add a backend, add a row. `defines` are what //platform:platform_<backend> carries; `copts`
# compile every file of that backend, and the precompiled header that they begin with;
# `gtest = False` keeps GoogleTest out of its tests;
# `shows_source = True` gives programs their sources to read when they run;
# `on_request = True` keeps it out of //...: it is built where a target names it.
BACKENDS = {
    "threads": _backend(["HATCHECK_ON_THREADS"]),
    "observed": _backend(["HATCHECK_ON_THREADS", "HATCHECK_OBSERVE"]),
    # The plain one as a kernel is compiled without DEBUG: HAT_ASSERT is nothing. For benchmarks.
    "unchecked": _backend(
        ["HATCHECK_ON_THREADS", "HATCHECK_NO_ASSERT"],
        on_request = True,
    ),
    # Relacy replaces operator new and delete, but not the sized delete. Its fibers switch with
    # longjmp, which _FORTIFY_SOURCE takes for an error.
    "relacy": _backend(
        ["HATCHECK_ON_RELACY"],
        copts = ["-fno-sized-deallocation", "-U_FORTIFY_SOURCE"],
        precompiled = "relacy",
        gtest = False,
    ),
    "explorer": _backend(["HATCHECK_ON_EXPLORER"], shows_source = True),
}

# Tags of tests that are run by name only, or by the name of a test suite.
LONG = ["long", "manual"]

def hc_for_backend(label, backend):
    """The label of an hc_library for one backend: //hat:hat (or //hat) -> //hat:hat_threads."""
    if ":" in label:
        return label + "_" + backend
    return label + ":" + label.split("/")[-1] + "_" + backend

def _precompiled(backend, above_vm):
    return "on_" + backend if above_vm else BACKENDS[backend].precompiled

def _mapped(labels, backend):
    return [hc_for_backend(label, backend) for label in labels]

def _chosen(backends):
    if backends == None:
        return BACKENDS.keys()
    for backend in backends:
        if backend not in BACKENDS:
            fail("unknown backend '%s'; build/backends.bzl has: %s" %
                 (backend, ", ".join(BACKENDS.keys())))
    return backends

def hc_library(
        name,
        srcs = [],
        hdrs = [],
        deps = [],
        plain_deps = [],
        backends = None,
        selects_backend = False,
        above_vm = True,
        copts = [],
        defines = [],
        tags = [],
        **kwargs):
    """Emits `name_<backend>` for each backend.

    Args:
      name: the library; dependents write `//package:name` in their own `deps`.
      srcs: sources.
      hdrs: headers.
      deps: other hc_library targets, without the backend suffix.
      plain_deps: everything else (`//build/deps:absl`, a cc_library), taken as written.
      backends: a list of backend names; all of them by default.
      selects_backend: True for //platform:platform only: dependents inherit the backend's defines.
      above_vm: False for vm/ and the layers below it, whose headers are precompiled for the others.
      copts: compile options, in addition to the backend's own.
      defines: defines that dependents inherit.
      tags: tags of every target; `backend_<backend>` is added.
      **kwargs: handed to cc_library (visibility, textual_hdrs, testonly, ...).
    """
    for backend in _chosen(backends):
        row = BACKENDS[backend]
        cc_library(
            name = name + "_" + backend,
            srcs = srcs,
            hdrs = hdrs,
            deps = _mapped(deps, backend) + plain_deps,
            copts = row.copts + copts,
            precompiled = _precompiled(backend, above_vm),
            data = srcs + hdrs if row.shows_source else [],
            defines = (row.defines if selects_backend else []) + defines,
            linkstatic = True,
            tags = tags + ["backend_" + backend] + BACKENDS[backend].tags,
            **kwargs
        )

def hc_binary(
        name,
        srcs = [],
        deps = [],
        plain_deps = [],
        backend = "threads",
        copts = [],
        tags = [],
        **kwargs):
    """A program on one backend, named `name`."""
    _chosen([backend])
    cc_binary(
        name = name,
        srcs = srcs,
        deps = _mapped(deps, backend) + plain_deps,
        copts = BACKENDS[backend].copts + copts,
        precompiled = BACKENDS[backend].precompiled,
        linkstatic = True,
        tags = tags + ["backend_" + backend] + BACKENDS[backend].tags,
        **kwargs
    )

def hc_test(
        name,
        srcs = [],
        deps = [],
        plain_deps = [],
        backends = ["observed"],
        long_on = [],
        copts = [],
        tags = [],
        gtest = True,
        **kwargs):
    """A test on each backend listed.

    With one backend the test is `name`; with several they are `name_<backend>`, and `name` is a
    test suite of all of them. GoogleTest is linked with a main() that a main() in `srcs` replaces.
    The default is real threads with the order of locks watched: what hatstress runs on.

    Args:
      name: the test or the suite.
      srcs: sources.
      deps: hc_library targets, without the backend suffix.
      plain_deps: everything else, taken as written.
      backends: a list of backend names.
      long_on: those of them whose test is LONG: not part of ./test, nor of the suite unless
        all of them are.
      copts: compile options, in addition to the backend's own.
      tags: tags of every test; `backend_<backend>` is added.
      gtest: False for a test that does not use GoogleTest.
      **kwargs: handed to cc_test (size, timeout, args, data, shard_count, ...).
    """
    several = len(_chosen(backends)) > 1
    names = {}
    for backend in backends:
        row = BACKENDS[backend]
        test_name = name + "_" + backend if several else name
        main = ["//build/deps:gtest_main"] if gtest and row.gtest else []
        cc_test(
            name = test_name,
            srcs = srcs,
            deps = _mapped(deps, backend) + plain_deps + main,
            copts = row.copts + copts,
            precompiled = "test" if gtest and row.gtest else row.precompiled,
            linkstatic = True,
            tags = tags + ["backend_" + backend] + row.tags +
                   (LONG if backend in long_on else []),
            **kwargs
        )
        names[":" + test_name] = backend not in long_on
    if several:
        short = [test for test, is_short in names.items() if is_short]
        native.test_suite(
            name = name,
            tags = [] if short else ["manual"],
            tests = short or names.keys(),
        )

def hc_patched_library(
        name,
        patch,
        files,
        of,
        deps = [],
        plain_deps = [],
        backends = None,
        above_vm = True,
        copts = [],
        tags = [],
        **kwargs):
    """A library in which some .cc files are replaced by patched copies.

    `name_<backend>` holds the objects of the patched files and depends on `of` for the rest. Its
    objects are always linked and define every symbol of the originals, so the linker never takes
    the original objects from the archive of `of`; should an original be taken after all, each
    function is defined twice and linking fails. A patch that no longer applies exactly (no fuzz,
    every hunk at one place only) fails the build.

    A program takes it in `deps` next to, or instead of, the original:
    `hc_binary(name = "stress_S05", deps = ["//models/published:S05", "//stress:main"])`.

    Args:
      name: the library; dependents write `//package:name`.
      patch: a unified diff with a/ and b/ prefixes, paths relative to the workspace, and context
        on both sides of each change. The text before its first hunk says what it changes.
      files: labels of the .cc files it changes; their package exports them with exports_files.
      of: the hc_library that the files belong to.
      deps: further hc_library targets that the patched files need.
      plain_deps: everything else, taken as written.
      backends: a list of backend names; all by default.
      above_vm: as for hc_library; True also for files of vm/ itself.
      copts: compile options.
      tags: tags of every target.
      **kwargs: handed to cc_library.
    """
    outs = []
    arguments = []
    for file in files:
        if not file.startswith("//") or ":" not in file or not file.endswith(".cc"):
            fail("%s: files must be full labels of .cc files, got '%s'" % (name, file))
        path = file[2:].replace(":", "/").lstrip("/")
        outs.append(name + "/" + path)
        arguments.append("%s=$(execpath %s)" % (path, file))
    native.genrule(
        name = name + "_sources",
        srcs = [patch] + files,
        outs = outs,
        cmd = " ".join([
            "python3 -B $(execpath //tools:apply_patch.py)",
            "--patch=$(execpath %s)" % patch,
            "--out=$(RULEDIR)/" + name,
        ] + arguments),
        tools = ["//tools:apply_patch.py"],
        tags = tags,
    )
    for backend in _chosen(backends):
        cc_library(
            name = name + "_" + backend,
            srcs = outs,
            data = outs if BACKENDS[backend].shows_source else [],
            deps = _mapped([of] + deps, backend) + plain_deps,
            copts = BACKENDS[backend].copts + copts,
            precompiled = _precompiled(backend, above_vm),
            alwayslink = True,
            linkstatic = True,
            tags = tags + ["backend_" + backend] + BACKENDS[backend].tags,
            **kwargs
        )

def hc_patch_test(
        name,
        binary,
        expect,
        args = [],
        exit_code = 1,
        data = [],
        tags = [],
        size = "small",
        **kwargs):
    """Passes if `binary` catches the fault planted in it.

    Args:
      name: the test.
      binary: label of the program, full or relative (`:hatstress_S05`).
      expect: extended regular expression that a line of its output must match.
      args: its arguments; each one is passed as it stands.
      exit_code: the exit code that means caught.
      data: files the program needs.
      tags: `planted_fault` is added: ./test leaves these out of its sanitizer passes, where the
        sanitizer would end the program before its own checks do.
      size: size of the test.
      **kwargs: handed to sh_test (timeout, shard_count, ...).
    """
    native.sh_test(
        name = name,
        srcs = ["//tools:expect_caught.sh"],
        args = [
            "$(rootpath %s)" % binary,
            str(exit_code),
            _quoted(expect),
        ] + [_quoted(argument) for argument in args],
        data = [binary] + data,
        size = size,
        tags = tags + ["planted_fault"],
        **kwargs
    )

def _quoted(text):
    """Protects an argument from Bazel's own tokenizing and its $(...) expansion."""
    return "'" + text.replace("'", "'\\''").replace("$", "$$") + "'"
