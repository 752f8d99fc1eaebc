// Puts the page together: one feed, and the views that it feeds.

import { get } from "./api.js";
import { BookView } from "./book_view.js";
import { Candles } from "./candles.js";
import { Connection } from "./connection.js";
import { Feed } from "./feed.js";
import { InstrumentList } from "./instruments.js";
import { Operator } from "./operator.js";
import { Own } from "./own.js";
import { tabs } from "./tabs.js";
import { theme } from "./theme.js";
import { Ticket } from "./ticket.js";
import { TradesView } from "./trades_view.js";

const TERMS_MS = 3_000;

let shown = null;
let terms = new Map();
let known = "";

const own = new Own({
  onOpen: (orders) => {
    const here = orders.filter((order) => order.instrument === shown);
    bookView.mark(new Set(here.map((order) => order.price)));
  },
  ask: (frame) => feed.stream.ask(frame),
  termsOf: (instrument) => terms.get(instrument),
});
const ticket = new Ticket({
  onPlaced: () => own.soon(),
  onClient: (client) => own.follow(client),
});
const bookView = new BookView((price) => ticket.price(price));
const tradesView = new TradesView();
const candles = new Candles();
const list = new InstrumentList(choose);
const operator = new Operator(() => shown);
theme(() => candles.paint());
tabs((view) => (view === "operator" ? operator.start() : operator.stop()));

const feed = new Feed({
  onBook: (book) => bookView.show(book, feed.repairs),
  onTrades: (trades, reset) => {
    tradesView.take(trades, reset);
    if (reset) candles.show(shown);
    else candles.take(trades);
    own.take(trades);
  },
  onTicker: (ticker) => list.take(ticker),
  onState: (live) => connection.stream(live),
  onOther: () => own.follow(ticket.client),
});
const connection = new Connection(start, () => (shown ? get("/market/bbo", { instrument: shown }) : get("/instruments")));
own.follow(ticket.client);
// Where that fails, the state of the connection says so.
setInterval(() => document.hidden || readTerms().catch(() => {}), TERMS_MS);

/** At the beginning, and when the exchange is back. */
async function start() {
  await readTerms();
  own.soon();
}

/** What can be traded, and within which numbers: an operator may change either at any time. */
async function readTerms() {
  const { instruments } = await get("/instruments");
  const content = JSON.stringify(instruments);
  if (!instruments.length || content === known) return;
  known = content;
  terms = new Map(instruments.map((each) => [each.instrument, each]));
  const names = [...terms.keys()];
  list.show(names);
  feed.list(names);
  if (terms.has(shown)) ticket.show(terms.get(shown));
  else choose(asked() ?? names[0]);
}

/** The listed instrument that the address names. */
function asked() {
  const name = location.hash.slice(1);
  return terms.has(name) ? name : undefined;
}
addEventListener("hashchange", () => asked() && choose(asked()));

function choose(instrument) {
  shown = instrument;
  history.replaceState(null, "", `#${instrument}`);
  list.choose(instrument);
  ticket.show(terms.get(instrument));
  tradesView.take([], true);
  candles.clear();
  feed.watch(instrument);
  own.soon();
}
