// Candles of one instrument, from the exchange's analytics, going on with the trades as they come.
//
// A reply says at which sequence it is true; a trade up to that sequence is in it already. Where
// there is no analytics the candles are made of the trades that are still listed.

import { get } from "./api.js";
import { byId, element } from "./dom.js";
import { dayAndTimeOf, decimalsOf, shown, timeOf } from "./numbers.js";
import { CandlestickSeries, createChart } from "./vendor/lightweight-charts.js";

const DAY_MINUTES = 1_440;
const INTERVALS = [["1m", 1], ["5m", 5], ["15m", 15], ["1h", 60], ["4h", 240], ["1d", DAY_MINUTES]];
const CANDLES_MAX = 500;
const LISTED_TRADES_MAX = 1_000;
const AGAIN_MS = 1_000;

/** Adds a trade to candles that are sorted by time; true where it began a new one. */
export function addTrade(candles, trade, minutes) {
  const seconds = minutes * 60;
  const time = Math.floor(Date.parse(trade.timestamp) / 1_000 / seconds) * seconds;
  const last = candles.at(-1);
  const { price } = trade;
  if (!last || time > last.time) {
    candles.push({ time, open: price, high: price, low: price, close: price });
    return true;
  }
  last.high = Math.max(last.high, price);
  last.low = Math.min(last.low, price);
  last.close = price;
  return false;
}

export class Candles {
  constructor() {
    this.minutes = INTERVALS[0][1];
    this.chart = createChart(byId("chart"), {
      autoSize: true,
      // Its logo is styled inline, which the page's policy refuses; the line below the chart names it.
      layout: { attributionLogo: false, background: { color: "transparent" } },
      timeScale: { timeVisible: true },
    });
    this.series = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.buttons = INTERVALS.map(([label, minutes]) => {
      const button = element("button", { type: "button", "aria-pressed": String(minutes === this.minutes) }, label);
      button.addEventListener("click", () => this.choose(minutes));
      return [minutes, button];
    });
    byId("intervals").replaceChildren(...this.buttons.map(([, button]) => button));
    this.paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  /** Take the colours of the page. */
  paint() {
    const style = getComputedStyle(byId("chart"));
    const [up, down, line] = ["--buy", "--sell", "--line"].map((name) => style.getPropertyValue(name));
    this.chart.applyOptions({
      layout: { textColor: style.color },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
    });
    this.series.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
  }

  choose(minutes) {
    this.minutes = minutes;
    for (const [each, button] of this.buttons) button.setAttribute("aria-pressed", String(each === minutes));
    if (this.instrument) this.show(this.instrument);
  }

  /** Another market is to come. */
  clear() {
    this.instrument = null;
    this.waiting = [];
    this.candles = null;
    this.series.setData([]);
    byId("candle").textContent = "";
  }

  async show(instrument) {
    this.instrument = instrument;
    const { minutes } = this;
    const waiting = [];
    this.waiting = waiting;
    const found = await read(instrument, minutes);
    // A later choice is being read already.
    if (this.waiting !== waiting) return;
    if (!found) {
      setTimeout(() => this.waiting === waiting && this.show(instrument), AGAIN_MS);
      return;
    }
    this.waiting = null;
    this.candles = found.candles;
    this.sequence = found.sequence;
    this.takeAll(waiting);
    this.decimals = -1;
    this.fitDecimals(this.candles.flatMap((candle) => [candle.high, candle.low]));
    this.series.setData(this.candles);
    this.chart.timeScale().fitContent();
    this.tell();
  }

  /** As many as the finest of these prices and of those before have. */
  fitDecimals(prices) {
    const decimals = prices.reduce((most, price) => Math.max(most, decimalsOf(price)), Math.max(this.decimals, 0));
    if (decimals === this.decimals) return;
    this.decimals = decimals;
    const minMove = 10 ** -decimals;
    // The axis goes on below the lowest price, where it may reach zero, at which nothing trades.
    const formatter = (price) => (price < minMove / 2 ? "" : price.toFixed(decimals));
    this.series.applyOptions({ priceFormat: { type: "custom", minMove, formatter } });
  }

  /** Oldest first. */
  take(trades) {
    if (this.waiting) {
      this.waiting.push(...trades);
      return;
    }
    if (!this.candles) return;
    const first = !this.candles.length;
    if (!this.takeAll(trades)) return;
    this.fitDecimals(trades.map((trade) => trade.price));
    this.series.update(this.candles.at(-1));
    if (first) this.chart.timeScale().fitContent();
    this.tell();
  }

  takeAll(trades) {
    const fresh = trades.filter((trade) => Number(trade.sequence) > this.sequence);
    const last = this.candles.at(-1);
    for (const trade of fresh) {
      // The series takes the last candle only, so each one that ends is drawn when the next begins.
      if (addTrade(this.candles, trade, this.minutes) && last && !this.waiting) this.series.update({ ...last });
    }
    return fresh.length > 0;
  }

  /** Of a candle: with its date where it is not of today, or lasts a day. */
  beginning(time) {
    if (this.minutes < DAY_MINUTES) return dayAndTimeOf(time);
    return `${new Date(time).toISOString().slice(0, 10)} ${timeOf(time)}`;
  }

  tell() {
    const candle = this.candles.at(-1);
    byId("candle").textContent = candle
      ? `${this.beginning(candle.time * 1_000)} open ${shown(candle.open)} high ${shown(candle.high)} low ${shown(candle.low)} close ${shown(candle.close)}`
      : "no trades yet";
  }
}

async function read(instrument, minutes) {
  const start = new Date(Date.now() - minutes * 60_000 * CANDLES_MAX).toISOString();
  try {
    const found = await get("/market/analytics", { instrument, interval: minutes, start_time: start });
    const candles = found.aggregates.map((each) => ({
      time: Math.floor(Date.parse(each.time_bucket) / 1_000),
      open: each.open,
      high: each.max_price,
      low: each.min_price,
      close: each.close,
    }));
    return { candles, sequence: Number(found.sequence ?? 0) };
  } catch {
    return readTrades(instrument, minutes);
  }
}

async function readTrades(instrument, minutes) {
  const candles = [];
  try {
    const listed = await get("/market/trades", { instrument, limit: LISTED_TRADES_MAX });
    for (const trade of listed.trades.reverse()) addTrade(candles, trade, minutes);
    return { candles, sequence: Number(listed.sequence) };
  } catch {
    return null;
  }
}
