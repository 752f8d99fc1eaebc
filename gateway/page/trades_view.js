// The newest trades, newest first. A price below the one before is shown as a fall.

import { byId, row } from "./dom.js";
import { shown, timeOf } from "./numbers.js";
import { Redraw } from "./redraw.js";

const ROWS_MAX = 40;
const DRAW_MS = 100;

export class TradesView {
  constructor() {
    this.body = byId("trades");
    this.trades = [];
    this.redraw = new Redraw(DRAW_MS, () => this.draw());
  }

  /** Oldest first; `reset` forgets what was shown. */
  take(trades, reset) {
    this.trades = [...(reset ? [] : this.trades), ...trades].slice(-ROWS_MAX - 1);
    this.redraw.soon();
  }

  draw() {
    const rows = this.trades.map((trade, at) => {
      const before = this.trades[at - 1]?.price ?? trade.price;
      const className = trade.price < before ? "sell" : "buy";
      return row(timeOf(trade.timestamp), { text: shown(trade.price), className }, shown(trade.quantity));
    });
    this.body.replaceChildren(...rows.slice(-ROWS_MAX).reverse());
  }
}
