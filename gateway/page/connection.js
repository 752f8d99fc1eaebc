// The state of the connection: whether the streams are live, and how long a call takes there and
// back, measured each two seconds over the whole way to the exchange.

import { byId } from "./dom.js";

const PROBE_MS = 2_000;
const ANSWER_MS_MAX = 3_000;

export class Connection {
  /** `ask()` is timed; `onBack()` is called when it answers again, and live is what that has ended for. */
  constructor(onBack, ask) {
    this.onBack = onBack;
    this.ask = ask;
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
    const late = setTimeout(() => {
      this.answering = false;
      this.show();
    }, ANSWER_MS_MAX);
    try {
      await this.ask();
      clearTimeout(late);
      this.delay = performance.now() - begun;
      if (!this.answering) await this.onBack();
      this.answering = true;
    } catch {
      this.answering = false;
    } finally {
      clearTimeout(late);
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
