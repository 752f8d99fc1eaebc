// The list of what can be traded, with last price and change of 24 hours.

import { arrange, byId, element } from "./dom.js";
import { shown, signed } from "./numbers.js";

export class InstrumentList {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.entries = new Map();
  }

  /** What can be traded now; an entry that stays is kept, with what it shows. */
  show(names) {
    this.entries = new Map(names.map((name) => [name, this.entries.get(name) ?? this.entry(name)]));
    arrange(byId("instruments"), [...this.entries.values()].map(({ line }) => line));
  }

  entry(name) {
    const price = element("span", { className: "price" }, "–");
    const change = element("span", { className: "change" });
    const button = element("button", { type: "button" }, element("span", {}, name), price, change);
    button.addEventListener("click", () => this.onChoose(name));
    return { line: element("li", {}, button), button, price, change };
  }

  choose(instrument) {
    for (const [name, { button }] of this.entries) button.setAttribute("aria-current", String(name === instrument));
    const box = byId("instruments");
    const { offsetTop: top, offsetHeight: height } = this.entries.get(instrument).line;
    if (top < box.scrollTop || top + height > box.scrollTop + box.clientHeight) box.scrollTop = top;
  }

  take(ticker) {
    const entry = this.entries.get(ticker.instrument);
    if (!entry) return;
    entry.price.textContent = shown(ticker.last);
    const { change, open } = ticker;
    if (change === undefined || !open) return entry.change.replaceChildren();
    entry.change.textContent = `${signed(change)} (${signed(Number(((change / open) * 100).toFixed(2)))} %)`;
    entry.change.className = `change ${change < 0 ? "sell" : "buy"}`;
  }
}
