// The WebSocket `/stream`: opened again after growing delays, given up for silence.
//
// While it is open a `ping` goes out each few seconds; a connection over which nothing comes for
// longer than that is taken for dead. What to subscribe to is said anew after each opening.

const DELAY_MS_FIRST = 250;
const DELAY_MS_MAX = 5_000;
const PING_MS = 3_000;
const SILENCE_MS_MAX = 10_000;

export class Stream {
  /** `onOpen()`, `onFrame(frame)` and `onClose(everOpen)` are called as it goes. */
  constructor({ onOpen, onFrame, onClose }) {
    this.handlers = { onOpen, onFrame, onClose };
    this.delay = DELAY_MS_FIRST;
    this.everOpen = false;
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
      this.handlers.onFrame(JSON.parse(event.data));
    };
    socket.onclose = () => {
      clearInterval(pings);
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
}
