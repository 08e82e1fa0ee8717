"""Tests that run scenarios on model engines."""

load("//build:backends.bzl", "LONG")

def hc_scenario_tests(subjects, engines, short = {}, size = "medium", **kwargs):
    """A test per subject and engine, `SUBJECT_ENGINE`, and one that no subject is forgotten.

    Each scenario must end as it promises; those whose bounds say must_exhaust must be exhausted.

    Args:
      subjects: the parts of scenario names before the slash.
      engines: names of runners in this package.
      short: by engine, how many executions are enough of a scenario that asks for no number; the
        usual number is that of `SUBJECT_ENGINE_long`; the suite `ENGINE_long` has these.
      size: of each test.
      **kwargs: handed to sh_test.
    """
    runs = [(engine, "", [], []) for engine in engines if engine not in short]
    for engine, executions in short.items():
        runs.append((engine, "", ["--executions=%d" % executions], []))
        runs.append((engine, "_long", [], LONG))
    for engine, suffix, flags, tags in runs:
        for subject in subjects:
            native.sh_test(
                name = subject + "_" + engine + suffix,
                size = size,
                srcs = ["run_scenarios.sh"],
                args = [
                    "$(rootpath :%s)" % engine,
                    "--scenario=%s/" % subject,
                    "--test",
                    "--keep_going",
                ] + flags,
                data = [":" + engine],
                tags = ["backend_" + engine, "no_sanitizer"] + tags,
                **kwargs
            )
    for engine in short:
        native.test_suite(
            name = engine + "_long",
            tags = ["manual"],
            tests = [subject + "_" + engine + "_long" for subject in subjects],
        )
    native.sh_test(
        name = "every_subject_has_a_test",
        size = "small",
        srcs = ["every_subject_has_a_test.sh"],
        args = ["$(rootpath :%s)" % engines[0]] + subjects,
        data = [":" + engines[0]],
        tags = ["no_sanitizer"],
    )
