"""Tests that run scenarios on model engines."""

def hc_scenario_tests(subjects, engines, size = "medium", **kwargs):
    """A test per subject and engine, `SUBJECT_ENGINE`, and one that no subject is forgotten.

    Each scenario must end as it promises; those whose bounds say must_exhaust must be exhausted.

    Args:
      subjects: the parts of scenario names before the slash.
      engines: names of runners in this package.
      size: of each test.
      **kwargs: handed to sh_test.
    """
    for engine in engines:
        for subject in subjects:
            native.sh_test(
                name = subject + "_" + engine,
                size = size,
                srcs = ["run_scenarios.sh"],
                args = [
                    "$(rootpath :%s)" % engine,
                    "--scenario=%s/" % subject,
                    "--test",
                    "--keep_going",
                ],
                data = [":" + engine],
                tags = ["backend_" + engine, "no_sanitizer"],
                **kwargs
            )
    native.sh_test(
        name = "every_subject_has_a_test",
        size = "small",
        srcs = ["every_subject_has_a_test.sh"],
        args = ["$(rootpath :%s)" % engines[0]] + subjects,
        data = [":" + engines[0]],
        tags = ["no_sanitizer"],
    )
