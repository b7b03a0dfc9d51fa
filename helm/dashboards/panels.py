"""
The parts of a dashboard: queries, panels and variables, in the same form everywhere.

Used by the modules of the single dashboards. A query chooses a release by the variable
``namespace``, and users' pods by ``users``.
"""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Panel,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
HERE = 'namespace="$namespace"'
USERS = 'namespace="$users",pod=~"jupyter-.+"'
RATE = "[$__rate_interval]"

Query = tuple[str, str]
"""A PromQL query, and the name of each of its series with labels in double braces."""


def selector(metric: str, labels: str = "") -> str:
    """Return the series of a metric in the release's namespace."""
    return f"{metric}{{{HERE},{labels}}}" if labels else f"{metric}{{{HERE}}}"


def rate(metric: str, labels: str = "", by: str = "", seconds: int = 1) -> str:
    """Return the query for how much counters grew within so many ``seconds``."""
    summed = f"sum by ({by})" if by else "sum"
    times = f"{seconds} * " if seconds > 1 else ""
    return f"{times}{summed} (rate({selector(metric, labels)}{RATE}))"


def increase(metric: str, labels: str = "", span: str = "1h") -> str:
    """Return the query for how much counters grew within a ``span``; 0 if there are none."""
    return f"(sum(increase({selector(metric, labels)}[{span}])) or vector(0))"


def quantiles(histogram: str, labels: str = "", by: str = "", what: str = "") -> list[Query]:
    """Return the queries for the 95th percentile and the median of a histogram."""
    buckets = rate(f"{histogram}_bucket", labels, by=f"le, {by}" if by else "le")
    return [
        (f"histogram_quantile({share}, {buckets})", f"{what}{name}")
        for share, name in ((0.95, "95 %"), (0.5, "median"))
    ]


def graph(
    title: str,
    unit: str,
    *queries: Query,
    about: str = "",
    stacked: bool = False,
    most: float | None = None,
) -> Builder[Panel]:
    """Return a panel with lines, or with areas on top of each other; ``most`` ends its axis."""
    legend = (
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.LIST)
        .placement(options.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(options.TooltipDisplayMode.MULTI)
        .sort(options.SortOrder.DESCENDING)
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(8)
        .height(7)
        .line_width(1.5)
        .fill_opacity(60 if stacked else 8)
        .show_points(options.VisibilityMode.NEVER)
        .legend(legend)
        .tooltip(tooltip)
    )
    if most is not None:
        panel = panel.max(most)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    for query in queries:
        panel = panel.with_target(_target(*query))
    return panel


def figure(
    title: str,
    unit: str,
    query: str,
    *,
    about: str = "",
    red_from: float | None = None,
    red_below: float | None = None,
) -> Builder[Panel]:
    """Return a panel with one number, which is green, or red from or below a value."""
    steps = [Threshold(value=None, color="green")]
    if red_from is not None:
        steps.append(Threshold(value=red_from, color="red"))
    if red_below is not None:
        steps = [Threshold(value=None, color="red"), Threshold(value=red_below, color="green")]
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(4)
        .height(4)
        .no_value("none")
        .graph_mode(options.BigValueGraphMode.AREA)
        .color_mode(options.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_target(query, title))
    )


def make(
    name: str, about: str, panels: Sequence[Builder[Panel]], *, users: bool = False
) -> dashboard.Dashboard:
    """Return a dashboard, with a variable for the users' namespace if it shows their pods."""
    siblings = dashboard.DashboardLink("Caesarion").tags(["caesarion"]).include_vars(True)
    made = (
        dashboard.Dashboard(f"Caesarion: {name}")
        .uid(f"caesarion-{name}")
        .description(about)
        .tags(["caesarion"])
        .readonly()
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(siblings.keep_time(True))
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
        .with_variable(_choice("namespace", "Namespace", "jupyterhub_total_users"))
    )
    if users:
        pods = 'kube_pod_status_phase{pod=~"jupyter-.+"}'
        made = made.with_variable(_choice("users", "Users' namespace", pods))
    for panel in panels:
        made = made.with_panel(panel)
    return made


def _target(query: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query).legend_format(legend).range()


def _choice(name: str, label: str, series: str) -> dashboard.QueryVariable:
    """Return a variable with the namespaces in which there are such ``series``."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({series}, namespace)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
