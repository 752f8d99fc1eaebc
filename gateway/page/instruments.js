// The list of what can be traded, with last price and change of 24 hours.

import { byId, element } from "./dom.js";
import { shown, signed } from "./numbers.js";

export class InstrumentList {
  constructor(instruments, onChoose) {
    this.entries = new Map();
    for (const { instrument } of instruments) {
      const price = element("span", { className: "price" }, "–");
      const change = element("span", { className: "change" });
      const button = element("button", { type: "button" }, element("span", {}, instrument), price, change);
      button.addEventListener("click", () => onChoose(instrument));
      this.entries.set(instrument, { button, price, change });
    }
    byId("instruments").replaceChildren(
      ...[...this.entries.values()].map(({ button }) => element("li", {}, button)),
    );
  }

  choose(instrument) {
    for (const [name, { button }] of this.entries) button.setAttribute("aria-current", String(name === instrument));
  }

  take(ticker) {
    const entry = this.entries.get(ticker.instrument);
    if (!entry) return;
    entry.price.textContent = shown(ticker.last);
    const { change, open } = ticker;
    if (change === undefined || !open) return;
    entry.change.textContent = `${signed(change)} (${signed(Number(((change / open) * 100).toFixed(2)))} %)`;
    entry.change.className = `change ${change < 0 ? "sell" : "buy"}`;
  }
}
