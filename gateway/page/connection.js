// The state of the connection: whether the streams are live, and how long a call takes there and
// back, measured each two seconds over the whole way to the exchange.

import { get } from "./api.js";
import { byId } from "./dom.js";

const PROBE_MS = 2_000;

export class Connection {
  /** `onBack()` is called when the exchange answers again. */
  constructor(onBack) {
    this.onBack = onBack;
    this.streaming = false;
    this.answering = false;
    setInterval(() => this.probe(), PROBE_MS);
    this.probe();
  }

  stream(live) {
    this.streaming = live;
    this.show();
  }

  async probe() {
    if (this.probing) return;
    this.probing = true;
    const begun = performance.now();
    try {
      await get("/market/bbo");
      this.delay = performance.now() - begun;
      if (this.answering === false) this.onBack();
      this.answering = true;
    } catch {
      this.answering = false;
    } finally {
      this.probing = false;
    }
    this.show();
  }

  show() {
    const live = this.streaming && this.answering;
    const state = live ? "live" : this.answering ? "connecting" : "no answer";
    byId("connection").dataset.state = live ? "live" : "lost";
    // Announced when it changes, not with each measurement.
    if (byId("connection-state").textContent !== state) byId("connection-state").textContent = state;
    byId("connection-delay").textContent = this.answering ? `${this.delay.toFixed(1)} ms` : "";
  }
}
