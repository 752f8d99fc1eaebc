// What goes on in the market that is shown: its book, its trades, and every instrument's ticker.
//
// The WebSocket is used where it can be opened, else the streams over HTTP; both give messages of
// one form. Gaps are seen by the sequences. A book that lost a delta is asked for anew, from a
// snapshot. Trades are taken up again at the last sequence that was seen, inclusive: those of that
// command that come twice are known by their ids. An exchange that can't have given that sequence began
// with other data, and nothing known of the one before holds. Sequences are compared as numbers: exact
// up to 2^53. What the exchange can't give at this moment, or refuses, is asked for again until it comes.

import { get } from "./api.js";
import { Book } from "./book.js";
import { followOverHttp } from "./http_feed.js";
import { Stream } from "./stream.js";
import { Tickers } from "./tickers.js";

const TRADES_FIRST = 100;
const AGAIN_MS = 1_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Feed {
  /** Handlers: `onBook(book)`, `onTrades(trades, reset)`, `onTicker(ticker)`, `onState(live)`, and
   * `onOther()`: the exchange holds other data than before. */
  constructor(handlers) {
    this.handlers = handlers;
    this.book = new Book();
    this.instruments = [];
    this.instrument = null;
    this.repairs = 0;
    this.tickers = new Tickers(handlers.onTicker, (frame) => this.stream.ask(frame));
    this.stream = new Stream({
      onOpen: () => this.opened(),
      onFrame: (frame) => this.take(frame),
      onClose: (everOpen) => this.lost(everOpen),
    });
    document.addEventListener("visibilitychange", () => this.overHttp && this.readLines());
  }

  /** Which tickers to follow. */
  list(instruments) {
    this.instruments = instruments;
    this.followTickers();
  }

  followTickers() {
    this.tickers.follow([...new Set([this.instrument ?? this.instruments[0], ...this.instruments])]);
  }

  /** Show another market. */
  watch(instrument) {
    if (this.instrument && this.open) this.send("unsubscribe", ["depth", "trades"], { instrument: this.instrument });
    this.instrument = instrument;
    this.book = new Book();
    this.known = null;
    this.loading = null;
    this.handlers.onBook(this.book);
    this.followTickers();
    this.reader?.abort();
    if (this.open) this.subscribeMarket();
    else this.loadTrades().then(() => this.overHttp && this.instrument === instrument && this.readLines());
  }

  /** The newest trades, from which the stream goes on; whoever wants them meanwhile waits for these. */
  loadTrades() {
    if (this.loading) return this.loading;
    const loading = this.readTrades().finally(() => {
      if (this.loading === loading) this.loading = null;
    });
    this.loading = loading;
    return loading;
  }

  async readTrades() {
    const { instrument } = this;
    let listed;
    while (!listed) {
      listed = await get("/market/trades", { instrument, limit: TRADES_FIRST }).catch(() => pause(AGAIN_MS));
      if (this.instrument !== instrument) return;
    }
    this.tradesSequence = Number(listed.sequence);
    this.newest = this.tradesSequence + 1;
    this.known = new Set();
    this.handlers.onTrades(listed.trades.reverse(), true);
  }

  opened() {
    this.open = true;
    this.overHttp = false;
    this.reader?.abort();
    this.handlers.onState(true);
    this.tickers.opened();
    if (this.instrument) this.subscribeMarket();
  }

  lost(everOpen) {
    this.open = false;
    this.tickers.lost();
    this.handlers.onState(false);
    if (!everOpen && !this.overHttp) {
      this.overHttp = true;
      this.readLines();
    }
  }

  async subscribeMarket() {
    const { instrument } = this;
    this.subscribe(["depth"], { instrument });
    if (!this.known) await this.loadTrades();
    if (this.instrument !== instrument) return;
    this.subscribe(["trades"], { instrument, from_sequence: String(this.tradesSequence) });
  }

  subscribe(channels, which) {
    this.send("subscribe", channels, which);
  }

  send(type, channels, which) {
    this.stream.send({ type, channels, ...which });
  }

  take(frame) {
    // What is asked for with an id is answered elsewhere: this was a subscription.
    const [kind, instrument] = (frame.channel ?? "").split(":");
    if (kind === "ticker") {
      if (frame.type === "error") this.tickers.ended([instrument]);
      else this.handlers.onTicker(frame.data);
      return;
    }
    if (frame.type === "error") {
      if (frame.details.some(({ metadata }) => metadata.field === "from_sequence")) this.forget();
      this.again ??= setTimeout(() => this.subscribeAgain(), AGAIN_MS);
    }
    if (instrument !== this.instrument) return;
    if (frame.type === "depth") {
      this.takeDepth({ ...frame.data, sequence: frame.sequence, previousSequence: frame.previous_sequence });
    } else if (frame.type === "trades") {
      this.takeTrades([frame.data], frame, () => this.subscribeMarket());
    } else if (frame.type === "restarted" && kind === "trades") {
      this.loadTrades();
    } else if (frame.type === "resumed" && kind === "trades") {
      this.tradesSequence = Math.max(this.tradesSequence, Number(frame.sequence));
    }
  }

  /** The sequence that was seen is none of this exchange's. */
  forget() {
    this.known = null;
    this.handlers.onOther();
  }

  subscribeAgain() {
    this.again = undefined;
    if (this.open && this.instrument) this.subscribeMarket();
  }

  /** Whether the message fitted; over the WebSocket one that did not asks for a snapshot. */
  takeDepth(message) {
    const wasReady = this.book.ready;
    const fitted = this.book.apply(message);
    if (!fitted && wasReady) {
      this.repairs += 1;
      if (this.open) this.subscribe(["depth"], { instrument: this.instrument });
    }
    this.handlers.onBook(this.book);
    return fitted;
  }

  takeTrades(trades, { sequence, previous_sequence: previous }, again) {
    if (!this.known) return;
    if (Number(previous) > this.tradesSequence) {
      this.repairs += 1;
      again();
      return;
    }
    const fresh = trades.filter((trade) => this.isFresh(trade));
    this.tradesSequence = Math.max(this.tradesSequence, Number(sequence));
    if (fresh.length) this.handlers.onTrades(fresh, false);
  }

  /** Whether it was not shown yet: of sequences before `newest` all were, of that itself those in `known`. */
  isFresh({ trade_id: id, sequence }) {
    const own = Number(sequence);
    if (own < this.newest || (own === this.newest && this.known.has(id))) return false;
    if (own > this.newest) [this.newest, this.known] = [own, new Set()];
    this.known.add(id);
    return true;
  }

  readLines() {
    this.reader?.abort();
    // A browser opens six connections to a host: tabs that nobody looks at would hold them all.
    if (!this.instrument || document.hidden) return;
    this.reader = new AbortController();
    followOverHttp(this, this.reader.signal);
  }
}
