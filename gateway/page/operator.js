// The operator's view: health, rates, latency, lags and connections, read while it is shown.

import { Refused, get } from "./api.js";
import { byId, element, row, tell } from "./dom.js";
import { shown } from "./numbers.js";
import { Source, percentile, sum } from "./prometheus.js";

const LOOK_MS = 2_000;
const ANSWER_MS_MAX = 2_000;
const SHARES = [0.5, 0.9, 0.99];

export class Operator {
  constructor(instrumentOf) {
    this.server = new Source();
    this.bridge = new Source();
    this.reading = new Set();
    this.looks = [
      { path: "/healthz", show: showHealth, lose: loseHealth, tables: ["parts"] },
      {
        path: "/metrics", show: (text) => this.take(this.server, text),
        tables: ["order-figures", "latencies", "lags", "server-connections", "processes"],
      },
      { path: "/metrics/websocket", show: (text) => this.take(this.bridge, text), tables: ["websocket-connections"] },
      { path: "/market/statistics", values: () => ({ instrument: instrumentOf() }), show: showStatistics, tables: ["statistics"] },
    ];
  }

  start() {
    this.timer ??= setInterval(() => this.look(), LOOK_MS);
    this.look();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Each is shown as it comes, and none is asked for again meanwhile. */
  look() {
    for (const each of this.looks) if (!this.reading.has(each)) this.read(each);
  }

  async read(each) {
    const { path, values, show, lose, tables } = each;
    this.reading.add(each);
    let read = false;
    try {
      show(await get(path, values?.(), ANSWER_MS_MAX));
      read = true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      read = Boolean(lose?.(error));
    } finally {
      this.reading.delete(each);
      for (const id of tables) byId(id).dataset.read = read ? "now" : "before";
    }
  }

  take(source, text) {
    source.take(text);
    if (source === this.server) this.showServer();
    else this.showBridge();
  }

  showServer() {
    const { figures, oldest } = this.server;
    const rate = (name) => perSecond(this.server.rate(name));
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
    fill("server-connections", [
      ...labelled(figures, "connections", ({ port }) => `connections, ${port}`),
      ...labelled(figures, "subscribers", ({ stream }) => `readers of ${stream}`),
      ["readers cut for slowness", shown(sum(figures, "subscribers_cut_total"))],
    ]);
    this.showProcesses();
  }

  showBridge() {
    const { figures } = this.bridge;
    fill("websocket-connections", [
      ...labelled(figures, "websocket_connections", () => "WebSocket connections"),
      ...labelled(figures, "websocket_subscriptions", ({ channel }) => `WebSocket subscriptions, ${channel}`),
      ["WebSocket frames/s", perSecond(this.bridge.rate("websocket_frames_sent_total"))],
      ["waiting for WebSocket clients", `${kib(sum(figures, "websocket_waiting_bytes"))}, most ${kib(sum(figures, "websocket_waiting_most_bytes"))}`],
      ["WebSocket clients cut for slowness", shown(cutByBridge(figures))],
    ]);
  }

  /** CPU between two looks, and memory, of each process. */
  showProcesses() {
    const { figures, before } = this.server;
    const of = (from, name, part) => from.get(name)?.find(({ labels }) => labels.part === part)?.value;
    byId("processes").replaceChildren(...(figures.get("part_cpu_seconds_total") ?? []).map(({ labels: { part }, value }) => {
      const earlier = before ? of(before.figures, "part_cpu_seconds_total", part) : undefined;
      const cpu = earlier === undefined || value < earlier ? "–" : `${Math.round(((value - earlier) / before.seconds) * 100)} %`;
      return line(part, cpu, `${Math.round(of(figures, "part_resident_memory_bytes", part) / 1_048_576)} MiB`);
    }));
  }
}

const perSecond = (rate) => (rate === null ? "–" : shown(Math.round(rate * 10) / 10));

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

/** True where it was read all the same. */
function loseHealth(refused) {
  // A 503 of the exchange itself still says how each part is.
  if (refused.content?.checks) {
    showHealth(refused.content);
    return true;
  }
  tell(byId("health"), `not serving: ${refused.message}`, "refused");
  byId("parts").replaceChildren();
  byId("degraded").replaceChildren();
  return false;
}

function showHealth({ status, checks, degraded, behind }) {
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
