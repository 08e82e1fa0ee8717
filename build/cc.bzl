"""cc_library, cc_binary and cc_test whose files begin with a precompiled header.

`precompiled` names a target of //build/precompiled; None for files that are to begin with nothing.
Each file includes what it needs all the same: clang's build has no precompiled headers.
"""

load(
    "@rules_cc//cc:defs.bzl",
    native_binary = "cc_binary",
    native_library = "cc_library",
    native_test = "cc_test",
)

def _begun(precompiled, deps, copts):
    """deps and copts with what makes a file begin with that header."""
    if precompiled == None:
        return dict(deps = deps, copts = copts)
    return dict(
        deps = deps + ["//build/precompiled:" + precompiled],
        copts = ["-include", "build/precompiled/%s.h" % precompiled] + copts + select({
            "//build:clang": [],
            "//conditions:default": ["-fpch-deps"],
        }),
    )

def cc_library(deps = [], copts = [], precompiled = "plain", **kwargs):
    native_library(**dict(kwargs, **_begun(precompiled, deps, copts)))

def cc_binary(deps = [], copts = [], precompiled = "plain", **kwargs):
    native_binary(**dict(kwargs, **_begun(precompiled, deps, copts)))

def cc_test(deps = [], copts = [], precompiled = "test", **kwargs):
    """Tests take g++ as long as the code under test, so they are optimized less: -O1.

    Not -O0: a memory order that reaches the compiler through a call that is not inlined counts as
    sequentially consistent, which hides data races from ThreadSanitizer.
    """
    optimization = ["-O1"] if precompiled == "test" else []
    native_test(**dict(kwargs, **_begun(precompiled, deps, optimization + copts)))
