"""Headers compiled ahead of time: parsing the standard library is most of what g++ does here.

`precompiled_header` emits NAME.h, which includes `hdrs` and `layers`, and NAME.h.gch. g++ takes the
second for the first if it was compiled with the same flags, and reads the first otherwise. Clang
gets an empty NAME.h: its build compiles each file with what that file includes itself, and so
notices a forgotten #include.

The macros in build/cc.bzl and build/backends.bzl make every file begin with one of them.
"""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "CPP_COMPILE_ACTION_NAME")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _of_deps(ctx, what):
    """A field of the compilation contexts of what it depends on."""
    contexts = [dep[CcInfo].compilation_context for dep in ctx.attr.deps]
    return depset(transitive = [getattr(context, what) for context in contexts])

def _flags(ctx, cc_toolchain, features, header, output):
    """The command line of a compilation as cc_library would do it."""
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = cc_toolchain,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + ctx.attr.copts,
        preprocessor_defines = _of_deps(ctx, "defines"),
        source_file = header.path,
        output_file = output.path,
        # cc_library does the same, and position-independent code has a macro of its own.
        use_pic = ctx.var["COMPILATION_MODE"] != "opt",
    )
    return cc_common.get_memory_inefficient_command_line(
        feature_configuration = features,
        action_name = CPP_COMPILE_ACTION_NAME,
        variables = variables,
    )

def _precompiled_header_impl(ctx):
    cc_toolchain = find_cpp_toolchain(ctx)
    header = ctx.actions.declare_file(ctx.label.name + ".h")
    files = [header]
    if cc_toolchain.compiler == "clang":
        ctx.actions.write(header, "")
    else:
        files += ctx.files.hdrs
        ctx.actions.write(header, "".join(
            [
                '#include "%s"\n' % path
                for path in [file.short_path for file in ctx.files.hdrs] + ctx.attr.layers
            ],
        ))
        compiled = ctx.actions.declare_file(header.basename + ".gch", sibling = header)
        files.append(compiled)
        features = cc_common.configure_features(
            ctx = ctx,
            cc_toolchain = cc_toolchain,
            requested_features = ctx.features,
            unsupported_features = ctx.disabled_features,
        )
        ctx.actions.run(
            executable = cc_common.get_tool_for_action(
                feature_configuration = features,
                action_name = CPP_COMPILE_ACTION_NAME,
            ),
            # -MD: it then knows what it was made of. With -fpch-deps its users (build/cc.bzl) tell
            # Bazel, which compiles them again when one of these headers changes.
            arguments = ["-x", "c++-header", "-iquote", ".", "-MD", "-MF", "/dev/null"] +
                        _flags(ctx, cc_toolchain, features, header, compiled),
            env = {"PATH": "/bin:/usr/bin:/usr/local/bin"},
            inputs = depset(
                [header] + ctx.files.hdrs,
                transitive = [cc_toolchain.all_files, _of_deps(ctx, "headers")],
            ),
            outputs = [compiled],
            mnemonic = "CppPrecompile",
            progress_message = "Precompiling " + header.short_path,
        )
    context = cc_common.create_compilation_context(headers = depset(files))
    return [DefaultInfo(files = depset(files)), CcInfo(compilation_context = context)]

precompiled_header = rule(
    implementation = _precompiled_header_impl,
    attrs = {
        "copts": attr.string_list(doc = "compile options; users need the same"),
        "deps": attr.label_list(doc = "libraries with `layers`; users have them too"),
        "hdrs": attr.label_list(allow_files = [".h"], mandatory = True),
        "layers": attr.string_list(doc = "headers of `deps`"),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
