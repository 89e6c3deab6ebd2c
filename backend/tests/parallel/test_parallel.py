"""A run of tests on several processes."""

import pytest

from tests.parallel.blocks import FEW, LAST, MOST, blocks

OPTIONS = ("-p", "tests.parallel.plugin", "-p", "no:cacheprovider", "--processes", "2")


@pytest.fixture(autouse=True)
def _without_other_plugins(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.RunResult:
    """Of two modules."""
    pytester.makepyfile(
        test_one="""
            import os, pytest, sys

            @pytest.fixture(scope="module")
            def shared():
                return os.getpid()

            def test_shares(shared):
                assert shared == os.getpid()

            def test_fails():
                print("what it wrote")
                assert 1 == 2

            def test_is_skipped():
                pytest.skip("not here")

            def test_ends_its_process():
                os._exit(3)

            def test_goes_on_in_another_process(shared):
                assert shared == os.getpid()
        """,
        test_two="""
            import os, pytest

            @pytest.fixture(scope="session")
            def ends_badly():
                yield
                raise ValueError("at its end")

            def test_has_a_directory_of_its_own(tmp_path, ends_badly):
                assert f"process{os.environ['TEST_PROCESS']}" in str(tmp_path)
        """,
    )
    return pytester.runpytest_subprocess(*OPTIONS, "-ra")


def test_all_reports_arrive(run: pytest.RunResult) -> None:
    run.assert_outcomes(passed=3, failed=3, skipped=1)
    run.stdout.fnmatch_lines(["*assert 1 == 2*", "what it wrote"])
    run.stdout.fnmatch_lines(["ValueError: at its end"])
    run.stdout.fnmatch_lines(["FAILED test_one.py::test_ends_its_process - process ? ended meanwhile: 3"])
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_the_first_failure_ends_a_run_that_is_to_end_with_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_one="""
            def test_fails():
                assert False

            def test_is_not_run():
                pass
        """
    )
    run = pytester.runpytest_subprocess(*OPTIONS, "-x")
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_blocks_begin_with_what_takes_long(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    long\n    browser\n    package\n")
    items = pytester.getitems(
        f"""
        import pytest

        @pytest.mark.parametrize("number", range({MOST + 1}))
        def test_short(number):
            pass

        @pytest.mark.long
        @pytest.mark.parametrize("number", range(2))
        def test_long(number):
            pass

        @pytest.mark.browser
        @pytest.mark.parametrize("number", range(2))
        def test_with_a_browser(number):
            pass

        @pytest.mark.long
        @pytest.mark.package
        @pytest.mark.parametrize("number", range(2))
        def test_of_the_package(number):
            pass
        """
    )
    first = MOST + 1
    shared = [[first + 2, first + 3], [first + 4, first + 5]]
    assert blocks(items) == [*shared, [first], [first + 1], [*range(MOST)], [MOST]]


def test_the_modules_of_a_folder_are_spread_over_the_run(pytester: pytest.Pytester) -> None:
    for folder, modules in (("many", 4), ("two", 2)):
        for number in range(modules):
            module = pytester.mkpydir(folder) if number == 0 else pytester.path / folder
            (module / f"test_{number}.py").write_text("def test_it():\n    pass\n")
    items, _ = pytester.inline_genitems()
    names = ["/".join(items[at].path.parts[-2:]) for [at] in blocks(items)]
    assert names == [
        f"{each}.py"
        for each in ("many/test_0", "two/test_0", "many/test_1", "many/test_2", "two/test_1", "many/test_3")
    ]


def test_the_last_blocks_are_short(pytester: pytest.Pytester) -> None:
    for number in range(LAST):
        tests = (f"def test_{each}():\n    pass\n" for each in range(FEW + 1))
        (pytester.path / f"test_{number}.py").write_text("".join(tests))
    items, _ = pytester.inline_genitems()
    assert [len(block) for block in blocks(items)] == [*[FEW + 1] * (LAST - 1), FEW, 1]
