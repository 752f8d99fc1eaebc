// One's own fills in every market that one has a position in: the newest, and on request older ones, as
// far back as the exchange lists them. A market is read again only when the position in it has changed.

import { get } from "./api.js";
import { byId, row } from "./dom.js";
import { dayAndTimeOf, shown } from "./numbers.js";

const PAGE = 100;
const SHOWN_FIRST = 30;
// Of a market, for one who trades all day. Beyond that only the newest page stays.
const FILLS_MAX = 10_000;

export class Fills {
  constructor() {
    this.button = byId("older-fills");
    this.button.addEventListener("click", () => this.older());
    this.follow("");
  }

  follow(client) {
    this.client = client;
    this.shown = SHOWN_FIRST;
    this.markets = new Map();
    this.show();
  }

  /** Positions as just read. */
  async take(positions) {
    const { markets } = this;
    for (const { instrument, last_updated: updated } of positions) {
      const market = markets.get(instrument) ?? { fills: [], next: "" };
      if (market.updated === updated) continue;
      try {
        await this.readNewest(instrument, market);
        market.updated = updated;
        markets.set(instrument, market);
      } catch {
        // The next refresh reads it again; the others are read all the same.
      }
      // Another client may have been chosen meanwhile.
      if (markets !== this.markets) return;
    }
    this.show();
  }

  async readNewest(instrument, market) {
    const { fills, next } = await this.read(instrument);
    const newest = market.fills[0]?.trade_id;
    const known = fills.findIndex((fill) => fill.trade_id === newest);
    if (known >= 0 && market.fills.length + known <= FILLS_MAX) market.fills.unshift(...fills.slice(0, known));
    else Object.assign(market, { fills, next });
  }

  async read(instrument, token = "") {
    const which = { client_id: this.client, instrument, limit: PAGE, ...(token && { page_token: token }) };
    const { trades, next_page_token: next } = await get("/market/trades", which);
    return { fills: trades.flatMap(fillsOf), next };
  }

  /** One step further back. */
  async older() {
    this.shown += SHOWN_FIRST;
    this.button.disabled = true;
    const { markets } = this;
    for (const [instrument, market] of markets) {
      // What was found is shown; the button goes on from there.
      await this.readOlder(instrument, market).catch(() => {});
    }
    this.button.disabled = false;
    if (markets === this.markets) this.show();
  }

  /** Until this market has no more fills that are to be shown. */
  async readOlder(instrument, market) {
    while (this.markets.get(instrument) === market && market.next && this.isShort(market)) {
      const token = market.next;
      const { fills, next } = await this.read(instrument, token);
      // Unless it was read anew meanwhile.
      if (market.next === token) {
        market.fills.push(...fills);
        market.next = next;
      }
    }
  }

  isShort(market) {
    const last = this.all()[this.shown - 1];
    return !last || Number(last.sequence) <= Number(market.fills.at(-1)?.sequence ?? Infinity);
  }

  all() {
    const found = [...this.markets.values()].flatMap((market) => market.fills);
    return found.sort((a, b) => Number(b.sequence) - Number(a.sequence));
  }

  show() {
    const all = this.all();
    const ended = [...this.markets.values()].every((market) => !market.next);
    this.button.hidden = all.length <= this.shown && ended;
    byId("fills").replaceChildren(...all.slice(0, this.shown).map((fill) => row(
      dayAndTimeOf(fill.timestamp), fill.instrument, fill.order, { text: fill.side, className: fill.side },
      shown(fill.price), shown(fill.quantity), fill.role, shown(fill.fee),
    )));
  }
}

/** One's own sides of a trade: both of one with oneself. */
function fillsOf(trade) {
  const made = trade.side === "buy" ? "sell" : "buy";
  return [
    { ...trade, role: "taker", fee: trade.taker_fee },
    { ...trade, role: "maker", fee: trade.maker_fee, side: made },
  ]
    .filter(({ role }) => trade.role === "both" || trade.role === role)
    .map((fill) => ({ ...fill, order: fill.side === "buy" ? trade.buy_order_id : trade.sell_order_id }));
}
