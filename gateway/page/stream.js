// The WebSocket `/stream`: opened again after growing delays, given up for silence.
//
// While it is open a `ping` goes out each few seconds; a connection over which nothing comes for
// longer than that is taken for dead. What to subscribe to is said anew after each opening.

import { Refused } from "./api.js";

const DELAY_MS_FIRST = 250;
const DELAY_MS_MAX = 5_000;
const PING_MS = 3_000;
const SILENCE_MS_MAX = 10_000;
const ANSWER_MS_MAX = 10_000;
const NO_ANSWER = "no answer came; look at the order, or send the same again, which does it at most once";

export class Stream {
  /** `onOpen()`, `onFrame(frame)` and `onClose(everOpen)` are called as it goes. */
  constructor({ onOpen, onFrame, onClose }) {
    this.handlers = { onOpen, onFrame, onClose };
    this.delay = DELAY_MS_FIRST;
    this.everOpen = false;
    this.asked = 0;
    this.waiting = new Map();
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/stream`);
    let heard = performance.now();
    const pings = setInterval(() => {
      if (performance.now() - heard > SILENCE_MS_MAX) socket.close();
      else this.send({ type: "ping" });
    }, PING_MS);
    socket.onopen = () => {
      this.everOpen = true;
      this.delay = DELAY_MS_FIRST;
      this.handlers.onOpen();
    };
    socket.onmessage = (event) => {
      heard = performance.now();
      const frame = JSON.parse(event.data);
      if (frame.request_id) this.answered(frame);
      else this.handlers.onFrame(frame);
    };
    socket.onclose = () => {
      clearInterval(pings);
      for (const id of [...this.waiting.keys()]) this.answered({ request_id: id, type: "error", error: NO_ANSWER });
      this.handlers.onClose(this.everOpen);
      // Spread, so that not everybody comes back in the same moment after a restart.
      setTimeout(() => this.connect(), this.delay * (0.5 + Math.random() / 2));
      this.delay = Math.min(this.delay * 2, DELAY_MS_MAX);
    };
    this.socket = socket;
  }

  send(frame) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  /** Send a frame: what answers it, or `Refused`. */
  ask(frame) {
    if (this.socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new Refused("the exchange can't be reached at this moment; try again", 0));
    }
    this.asked += 1;
    const id = String(this.asked);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.answered({ request_id: id, type: "error", error: NO_ANSWER }), ANSWER_MS_MAX);
      this.waiting.set(id, { resolve, reject, timer });
      this.send({ ...frame, request_id: id });
    });
  }

  answered(frame) {
    const waiting = this.waiting.get(frame.request_id);
    if (!waiting) return;
    this.waiting.delete(frame.request_id);
    clearTimeout(waiting.timer);
    if (frame.type === "error") waiting.reject(new Refused(frame.error, frame.code ?? 0));
    else waiting.resolve(frame);
  }
}
