// The ticker of each instrument: over the WebSocket as far as one connection takes subscriptions, the
// rest, and all where there is none, by call after call.

import { get } from "./api.js";

// The exchange's bounds of a frame and of a connection, of which the market that is shown takes two.
const NAMES_PER_FRAME_MAX = 100;
const SUBSCRIPTIONS_MAX = 198;
const AGAIN_MS = 1_000;
const CALL_PAUSE_MS = 20;
const ROUND_PAUSE_MS = 2_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Tickers {
  /** `onTicker(ticker)`; `ask(frame)` sends over the WebSocket. */
  constructor(onTicker, ask) {
    this.onTicker = onTicker;
    this.ask = ask;
    this.names = [];
    this.subscribed = new Set();
    this.poll();
  }

  /** Follow these, the most important first. */
  follow(names) {
    this.names = names;
    if (this.open) this.subscribe();
  }

  opened() {
    this.open = true;
    this.subscribed = new Set();
    this.subscribe();
  }

  lost() {
    this.open = false;
    this.subscribed = new Set();
  }

  /** The subscription to this one was ended, or those that were asked for were refused. */
  ended(names) {
    for (const name of names) this.subscribed.delete(name);
    this.again ??= setTimeout(() => {
      this.again = undefined;
      if (this.open) this.subscribe();
    }, AGAIN_MS);
  }

  subscribe() {
    const wanted = new Set(this.names.slice(0, SUBSCRIPTIONS_MAX));
    this.send("unsubscribe", [...this.subscribed].filter((name) => !wanted.has(name)));
    this.send("subscribe", [...wanted].filter((name) => !this.subscribed.has(name)));
    this.subscribed = wanted;
  }

  send(type, names) {
    for (let at = 0; at < names.length; at += NAMES_PER_FRAME_MAX) {
      const instruments = names.slice(at, at + NAMES_PER_FRAME_MAX);
      this.ask({ type, channels: ["ticker"], instruments }).catch(() => this.ended(instruments));
    }
  }

  async poll() {
    for (;;) {
      for (const instrument of this.names) {
        if (document.hidden || this.subscribed.has(instrument)) continue;
        await get("/market/ticker", { instrument }).then(this.onTicker, () => {});
        await pause(CALL_PAUSE_MS);
      }
      await pause(ROUND_PAUSE_MS);
    }
  }
}
