"""The simulator's report of measurements that are made up, and its arguments."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.bench.users import parts
from tests.bench.users.command import main
from tests.bench.users.crowd import Plan, Size
from tests.bench.users.parts import CPU, MEMORY, Reading
from tests.bench.users.report import extrapolate, make_report
from tests.bench.users.samples import FailedError, Samples

STILL = 'jupyterhub_event_loop_interval_seconds_bucket{{le="{}"}}'


def reading(at: float, hub: float, memory: float, still: Mapping[str, float] = {}) -> Reading:
    intervals = {STILL.format(bound): count for bound, count in still.items()}
    return Reading(at, {"hub": {CPU: hub, MEMORY: memory, **intervals}})


def measured(users: int, arrived: int, cores: float, memory: float) -> Size:
    """Starts took ten seconds and 0.1 s of the hub's CPU each, and chats were open for a minute."""
    samples = Samples()
    samples.seconds["a server starts"] += [2.0] * (arrived - 1)
    samples.failures["a server starts"]["no answer in time"] += 1
    samples.seconds["the hub's page"] += [0.05] * 19 + [0.3]
    before, started = reading(0, 0, memory), reading(10, 0.1 * arrived, memory)
    worked = reading(70, 0.1 * arrived + 60 * cores, memory)
    return Size(users, arrived, samples, before, started, worked)


def row(report: str, name: str) -> list[str]:
    (line,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", report, re.MULTILINE)
    return str(line).split(" | ")


def test_a_report_tells_what_users_wait_for_and_which_requests_failed() -> None:
    size = measured(20, 20, cores=0.1, memory=2e8)
    report = make_report([size], Plan([20], burst=5), "A hub.", 20)
    assert row(report, "a server starts") == ["2, 2, 2 s", "1 of 20"]
    assert row(report, "the hub's page") == ["50, 300, 300 ms", "0 of 20"]
    assert "- 20 users, a server starts: 1 times no answer in time" in report


def test_a_report_tells_what_each_part_has_used() -> None:
    report = make_report([measured(20, 20, 0.1, 2e8)], Plan([20], burst=5), "A hub.", 20)
    assert row(report, "starts") == ["2 /s"]
    assert row(report, "hub: CPU for each start") == ["100 ms"]
    assert row(report, "hub: CPU while chats are open") == ["0.1 cores"]
    assert row(report, "hub: memory") == ["200 MB"]
    assert "extrapolated" not in report


def test_what_was_not_measured_is_extrapolated_from_two_sizes_and_the_report_says_so() -> None:
    sizes = [measured(200, 200, 0.2, 2e8), measured(600, 400, 0.4, 4e8)]
    report = make_report(sizes, Plan([200, 600]), "A hub.", 3000)
    assert row(report, "hub: CPU while chats are open") == ["0.2 cores", "0.4 cores", "1.6 cores"]
    assert row(report, "hub: memory") == ["200 MB", "400 MB", "1,600 MB"]
    assert "3,000 users were not measured" in report
    assert "**3,000 users are too many for one hub**: it would need 1.6 cores" in report


def test_nothing_is_extrapolated_from_a_size_at_which_many_requests_failed() -> None:
    sizes = [measured(200, 200, 0.2, 2e8), measured(600, 400, 0.4, 4e8)]
    sizes[1].samples.failures["the hub's page"]["no answer in time"] += 10
    report = make_report(sizes, Plan([200, 600]), "A hub.", 3000)
    assert row(report, "hub: memory") == ["200 MB", "400 MB"]
    assert "3,000 users are not extrapolated: too many requests failed" in report


def test_an_extrapolation_is_the_straight_line_through_both_sizes() -> None:
    assert extrapolate([200, 600], [1.0, 2.0], 3000) == 8.0


def test_the_longest_time_in_which_the_hub_took_no_notice_is_that_of_the_run_only() -> None:
    before = reading(0, 0, 0, {"0.05": 90, "0.5": 90, "2.5": 91, "+Inf": 91})
    after = reading(60, 0, 0, {"0.05": 190, "0.5": 192, "2.5": 193, "+Inf": 193})
    assert parts.stood_still(before, after) == 0.5


def test_metrics_are_read_by_name_and_labels() -> None:
    text = '# TYPE a counter\na 1.5\nb{le="+Inf",code="2 0"} 3e+06\n'
    assert parts.parse(text) == {"a": 1.5, 'b{le="+Inf",code="2 0"}': 3e6}


def test_a_failed_request_is_counted_and_not_timed() -> None:
    samples = Samples()
    with samples.timed("a page"):
        raise FailedError("it was empty")
    assert (samples.seconds, samples.failures) == ({}, {"a page": {"it was empty": 1}})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--count", "0"], "argument --count: it is 0, and must be more than 0"),
        (["--seconds", "-1"], "argument --seconds: it is -1, and must be more than 0"),
    ],
)
def test_no_users_and_no_time_are_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert sentence in capsys.readouterr().err


def test_a_report_that_could_not_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "none"
    assert main(["--report", str(folder / "report.md")]) == 1
    assert capsys.readouterr().err == f"--report: there is no folder {folder}.\n"


@pytest.mark.parametrize("sizes", [["20", "10"], ["10", "100"]])
def test_sizes_that_cannot_be_extrapolated_are_refused(
    sizes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--count", "100", "--sizes", *sizes]) == 1
    assert "cannot be extrapolated to --count 100" in capsys.readouterr().err
