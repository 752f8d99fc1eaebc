// The operator's view: health, rates, latency, lags and connections, read while it is shown.

import { Refused, get } from "./api.js";
import { byId, element, row, tell } from "./dom.js";
import { shown } from "./numbers.js";
import { parse, percentile, sum } from "./prometheus.js";

const LOOK_MS = 2_000;
const WINDOW_MS = 60_000;
const SHARES = [0.5, 0.9, 0.99];

export class Operator {
  constructor(instrumentOf) {
    this.instrumentOf = instrumentOf;
    this.looks = [];
  }

  start() {
    this.timer ??= setInterval(() => this.look(), LOOK_MS);
    this.look();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  async look() {
    const [health, metrics, bridge, statistics] = await Promise.allSettled([
      get("/healthz"), get("/metrics"), get("/metrics/websocket"), get("/market/statistics", { instrument: this.instrumentOf() }),
    ]);
    showHealth(health);
    const told = [metrics, bridge].filter(({ status }) => status === "fulfilled").map(({ value }) => value);
    if (metrics.status === "fulfilled") this.showFigures(parse(told.join("\n")));
    if (statistics.status === "fulfilled") showStatistics(statistics.value);
  }

  showFigures(figures) {
    const now = { at: performance.now(), figures };
    const newest = this.looks.at(-1);
    // Counters begin again with the server.
    if (newest && sum(figures, "orders_received_total") < sum(newest.figures, "orders_received_total")) this.looks = [];
    this.looks = [...this.looks.filter(({ at }) => now.at - at <= WINDOW_MS), now];
    const before = this.looks.at(-2);
    const oldest = this.looks.length > 1 ? this.looks[0].figures : null;
    const rate = (name) => {
      if (!before) return "–";
      const count = sum(figures, name) - sum(before.figures, name);
      return shown(Math.round((count / (now.at - before.at)) * 10_000) / 10);
    };
    fill("order-figures", [
      ["orders/s", rate("orders_received_total")],
      ["trades/s", rate("trades_total")],
      ["refused or rejected/s", rate("orders_rejected_total")],
      ["orders since the start", shown(sum(figures, "orders_received_total"))],
      ["open orders", shown(sum(figures, "orders_open"))],
      ["calls with an error", shown(sum(figures, "call_errors_total"))],
    ]);
    byId("latencies").replaceChildren(...[
      ["order to durable", "order_latency_seconds"],
      ["journal sync", "journal_sync_seconds"],
    ].map(([label, name]) => line(label, ...SHARES.map((share) => below(percentile(oldest, figures, name, share))))));
    fill("lags", [
      ["durable sequence", shown(sum(figures, "durable_sequence"))],
      ["commands waiting for the journal", shown(sum(figures, "commands_waiting"))],
      ...labelled(figures, "follower_lag_sequences", ({ follower }) => `follower ${follower}, commands behind`),
      ...labelled(figures, "outside_part_behind_seconds", ({ part }) => `${part}, seconds behind`, rounded),
      ...labelled(figures, "subscriber_lag_sequences", ({ stream }) => `slowest reader of ${stream}, commands behind`),
    ]);
    fill("connections", [
      ...labelled(figures, "connections", ({ port }) => `connections, ${port}`),
      ...labelled(figures, "websocket_connections", () => "WebSocket connections"),
      ...labelled(figures, "websocket_subscriptions", ({ channel }) => `WebSocket subscriptions, ${channel}`),
      ["WebSocket frames/s", rate("websocket_frames_sent_total")],
      ["waiting for WebSocket clients", `${kib(sum(figures, "websocket_waiting_bytes"))}, most ${kib(sum(figures, "websocket_waiting_most_bytes"))}`],
      ...labelled(figures, "subscribers", ({ stream }) => `readers of ${stream}`),
      ["readers cut for slowness", shown(sum(figures, "subscribers_cut_total") + cutByBridge(figures))],
    ]);
    this.showProcesses(figures, before);
  }

  /** CPU between two looks, and memory, of each process. */
  showProcesses(figures, before) {
    const of = (from, name, part) => from.get(name)?.find(({ labels }) => labels.part === part)?.value;
    byId("processes").replaceChildren(...(figures.get("part_cpu_seconds_total") ?? []).map(({ labels: { part }, value }) => {
      const earlier = before && of(before.figures, "part_cpu_seconds_total", part);
      const passed = before && (this.looks.at(-1).at - before.at) / 1_000;
      const cpu = earlier === undefined || earlier === null || value < earlier ? "–" : `${Math.round(((value - earlier) / passed) * 100)} %`;
      return line(part, cpu, `${Math.round(of(figures, "part_resident_memory_bytes", part) / 1_048_576)} MiB`);
    }));
  }
}

const kib = (bytes) => `${Math.round(bytes / 1_024)} KiB`;

const cutByBridge = (figures) =>
  (figures.get("websocket_ended_total") ?? []).reduce((all, { labels, value }) => (labels.code === "1013" ? all + value : all), 0);

const line = (label, ...values) =>
  element("tr", {}, element("th", { scope: "row" }, label), ...values.map((value) => element("td", {}, value)));

const fill = (id, rows) => byId(id).replaceChildren(...rows.map((each) => line(...each)));

const rounded = (value) => Number(value.toPrecision(3));

const labelled = (figures, name, label, of = (value) => value) =>
  (figures.get(name) ?? []).map(({ labels, value }) => [label(labels), shown(of(value))]);

const below = (seconds) => {
  if (seconds === null) return "–";
  return seconds === Infinity ? "over 5 s" : `≤ ${shown(rounded(seconds * 1_000))} ms`;
};

function showHealth(result) {
  // A 503 of the exchange itself still says how each part is.
  const content = result.value ?? result.reason?.content;
  if (!content?.checks) {
    const why = result.reason instanceof Refused ? result.reason.message : String(result.reason);
    tell(byId("health"), `not serving: ${why}`, "refused");
    byId("parts").replaceChildren();
    byId("degraded").replaceChildren();
    return;
  }
  const { status, checks, degraded, behind } = content;
  tell(byId("health"), status, status === "healthy" ? "taken" : "refused");
  byId("parts").replaceChildren(...Object.entries(checks).map(([part, state]) => {
    const late = behind?.[part]?.events ? `, ${shown(behind[part].events)} events and ${shown(behind[part].seconds)} s behind` : "";
    return row(part, { text: `${state}${late}`, className: { healthy: "buy", disabled: "" }[state] ?? "sell" });
  }));
  byId("degraded").replaceChildren(...degraded.map((sentence) => element("li", {}, sentence)));
}

function showStatistics(found) {
  const { instrument, timestamp, sequence, ...figures } = found;
  fill("statistics", [
    ["instrument", instrument],
    ...Object.entries(figures).map(([name, value]) => [
      name.replaceAll("_", " "), typeof value === "number" ? shown(name.includes("per_second") ? rounded(value) : value) : value,
    ]),
  ]);
}
