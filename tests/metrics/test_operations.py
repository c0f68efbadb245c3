"""The dashboard and the alerts of `ops`, against a real Prometheus that looks at real servers."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator

from prometheus import OPS, Prometheus
from redis_server import Redis
from stage import ACCESSES, PATIENCE, REPOSITORY, Tidewire, eventually
from wire import Wire

NAMES = set(re.findall(r"^\| `(\S+)` \|", (REPOSITORY / "docs/metrics.md").read_text(), re.MULTILINE))
DASHBOARD = json.loads((OPS / "grafana/tidewire.json").read_text())
RUNBOOK = (REPOSITORY / "docs/operations.md").read_text()
VARIABLES = {"$job": "tidewire", "$instance": ".+", "$__rate_interval": "5s"}

ABSENT = {"Age of the key set"}
"""Panels about what these servers do not have: a key set that is fetched."""


def promtool(*arguments: str) -> None:
    run = subprocess.run(["promtool", *arguments], cwd=OPS / "prometheus", capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 0, run.stdout + run.stderr


def panels() -> Iterator[dict]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> Iterator[str]:
    """Everything that the dashboard or an alert asks."""
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    alerts = (OPS / "prometheus/alerts.yml").read_text()
    yield from re.findall(r"^ +expr: (.+?)\n +(?:for|labels):", alerts.replace(">-\n", ""), re.MULTILINE | re.DOTALL)


def test_the_example_the_alerts_and_their_tests_are_what_promtool_takes() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested_and_stands_in_the_runbook() -> None:
    alerts = re.findall(r"- alert: (\w+)", (OPS / "prometheus/alerts.yml").read_text())
    tested = (OPS / "prometheus/alerts_test.yml").read_text()
    assert len(alerts) > 12
    for alert in alerts:
        assert tested.count(f"alertname: {alert}\n") >= 2, f"{alert} is seen to fire, and to be silent"
        assert f"\n#### {alert}\n" in RUNBOOK, f"{alert} is in no runbook"


def test_nothing_is_asked_for_that_is_not_there() -> None:
    asked = {name for each in expressions() for name in re.findall(r"\b(?:tidewire|process)_\w+\b", each)}
    bare = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in asked}
    assert len(list(expressions())) > 50 and bare <= NAMES, bare - NAMES


def test_panels_have_units_and_name_no_data_source_of_ours() -> None:
    variables = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert variables == ["datasource", "job", "instance"]
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"] and panel["description"], panel["title"]
        for each in [panel, *panel["targets"]]:
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"], panel["title"]


def test_every_panel_shows_something_and_no_alert_fires_on_healthy_nodes(
    serve: Callable[..., Tidewire], redis: Redis, prometheus: Prometheus
) -> None:
    shared = {"broker.url": f"redis://127.0.0.1:{redis.port}", "broker.bridge": "events", "namespace.room.presence": "true"}
    guarded = serve("--tls-self-signed", access=ACCESSES["key"], **shared)
    alone = serve(access=ACCESSES["dev"])
    prometheus.watch(guarded, alone)
    with Wire(alone) as stream:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        silent = {panel["title"]: panel for panel in panels() if panel["title"] not in ABSENT}

        def all_show() -> bool:
            for server in (alone, guarded):
                server.publish("x", "hello")
            for title, panel in list(silent.items()):
                if all(has_numbers(prometheus, target["expr"]) for target in panel["targets"]):
                    del silent[title]
            return not silent

        try:
            eventually("every panel shows something", all_show, patience=30)
        except AssertionError:
            raise AssertionError(f"these show nothing: {list(silent)}") from None
    eventually("all rules were evaluated", lambda: all(rule["health"] == "ok" for rule in prometheus.rules()))
    assert [rule["name"] for rule in prometheus.rules() if rule["state"] == "firing"] == []


def has_numbers(prometheus: Prometheus, expression: str) -> bool:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return any(float(row["value"][1]) == float(row["value"][1]) for row in prometheus.ask(expression))


def test_a_node_that_is_killed_is_missed(serve: Callable[..., Tidewire], prometheus: Prometheus) -> None:
    server = serve(access=ACCESSES["dev"])
    prometheus.watch(server)
    server.process.kill()
    server.process.wait()
    down = lambda: next(rule for rule in prometheus.rules() if rule["name"] == "TidewireNodeDown")["state"]  # noqa: E731
    eventually("the alert waits out its minute", lambda: down() == "pending")
