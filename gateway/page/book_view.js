// The book as a table with depth bars, and its depth.
//
// However many updates come, it is drawn a few times a second, which is more than can be read; the
// rows stay the same elements.

import { drawDepth } from "./depth_chart.js";
import { byId, element } from "./dom.js";
import { column, shown } from "./numbers.js";
import { Redraw } from "./redraw.js";

const ROWS = 12;
const DEPTH_LEVELS = 100;
const DRAW_MS = 50;
const DEPTH_MS = 200;

export class BookView {
  constructor(onPrice) {
    this.asks = makeRows(byId("asks"), onPrice);
    this.bids = makeRows(byId("bids"), onPrice);
    this.own = new Set();
    this.redraw = new Redraw(DRAW_MS, () => this.draw());
    this.redrawDepth = new Redraw(DEPTH_MS, () => this.drawDepth());
  }

  show(book, repairs) {
    this.book = book;
    this.repairs = repairs;
    this.redraw.soon();
    this.redrawDepth.soon();
  }

  /** Prices at which one's own orders rest are marked. */
  mark(prices) {
    this.own = prices;
    if (this.book) this.show(this.book, this.repairs);
  }

  draw() {
    const { book } = this;
    const repairs = this.repairs ? `, repaired ${this.repairs} times` : "";
    byId("book-state").textContent = book.ready ? `at sequence ${book.sequence}${repairs}` : "waiting for a snapshot";
    const bids = book.bids.best(ROWS);
    const asks = book.asks.best(ROWS);
    const all = [...bids, ...asks];
    const style = {
      price: column(all.map((level) => level.price)),
      quantity: column(all.map((level) => level.quantity)),
      sum: column(all.map((level) => level.sum)),
      most: all.reduce((most, level) => Math.max(most, level.quantity), 0),
    };
    this.fill(this.bids, bids, style);
    // Asks stand above the spread, the best next to it.
    this.fill([...this.asks].reverse(), asks, style);
    const spread = bids.length && asks.length ? Number((asks[0].price - bids[0].price).toPrecision(12)) : null;
    const empty = bids.length || asks.length ? `no ${bids.length ? "asks" : "bids"}` : "both sides are empty";
    byId("spread").textContent = spread === null ? empty : `spread ${shown(spread)}`;
  }

  drawDepth() {
    const { bids, asks } = this.book;
    drawDepth(byId("depth"), bids.best(DEPTH_LEVELS), asks.best(DEPTH_LEVELS));
  }

  fill(rows, levels, style) {
    rows.forEach(({ line, cells }, at) => {
      const level = levels[at];
      const texts = level
        ? [style.price(level.price), style.quantity(level.quantity), style.sum(level.sum)]
        : ["", "", ""];
      texts.forEach((text, each) => {
        if (cells[each].data !== text) cells[each].data = text;
      });
      const share = level ? `${Math.round((level.quantity / style.most) * 100)}%` : "0%";
      if (line.dataset.share !== share) {
        line.dataset.share = share;
        line.style.setProperty("--share", share);
      }
      line.className = level && this.own.has(level.price) ? "own" : "";
    });
  }
}

function makeRows(body, onPrice) {
  return Array.from({ length: ROWS }, () => {
    const cells = [0, 1, 2].map(() => document.createTextNode(""));
    const line = element("tr", {}, ...cells.map((cell) => element("td", {}, cell)));
    line.addEventListener("click", () => cells[0].data && onPrice(cells[0].data));
    body.append(line);
    return { line, cells };
  });
}
