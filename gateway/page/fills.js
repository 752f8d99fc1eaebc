// One's own fills: of the newest trades of each market that one has a position in, and on request of
// older ones, as far back as the exchange lists them.
//
// A trade names orders, not clients: a fill is known by one's own order. So before older trades are
// read all of one's orders are, and those trades again that were read without knowing them. Only
// fills are kept, and a market is read again only when the position in it has changed.

import { get } from "./api.js";
import { byId, row } from "./dom.js";
import { shown, timeOf } from "./numbers.js";

const PAGE = 1_000;
const PAGES_AT_ONCE = 10;
const SHOWN_FIRST = 30;
// Of one who trades all day: some 10 MB of orders that are known, and as many fills as anybody reads.
const ORDERS_MAX = 100_000;
const FILLS_MAX = 10_000;

/** Lets go of what has been in a map for longest. */
function bound(map, most) {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}

export class Fills {
  constructor() {
    this.button = byId("older-fills");
    this.button.addEventListener("click", () => this.older());
    this.follow("");
  }

  follow(client) {
    this.client = client;
    this.shown = SHOWN_FIRST;
    this.orders = new Map();
    // What comes after the pages that were read; empty: nothing.
    this.ordersToken = null;
    this.markets = new Map();
    this.show();
  }

  /** Newest and open orders, and positions, as just read. */
  async take(recent, open, positions) {
    const { markets } = this;
    this.know([...recent.orders, ...open]);
    this.ordersToken ??= recent.next_page_token;
    for (const { instrument, last_updated: updated } of positions) {
      let market = markets.get(instrument);
      if (market?.updated === updated) continue;
      if (!market) markets.set(instrument, (market = { fills: new Map(), newest: -1, token: null }));
      await this.readNewest(instrument, market);
      // Another client may have been chosen meanwhile.
      if (markets !== this.markets) return;
      market.updated = updated;
    }
    this.show();
  }

  know(orders) {
    for (const { order_id: id, side } of orders) this.orders.set(id, side);
    bound(this.orders, ORDERS_MAX);
  }

  /** From the newest trade on, to where was read before; at first one page. */
  async readNewest(instrument, market) {
    const before = market.newest;
    let token = "";
    for (let page = 0; page < PAGES_AT_ONCE; page += 1) {
      const { oldest, next } = await this.readTrades(instrument, market, token);
      market.token ??= next;
      if (before < 0 || oldest <= before || !next) return;
      token = next;
    }
  }

  async readTrades(instrument, market, token) {
    const found = await get("/market/trades", { instrument, limit: PAGE, ...(token && { page_token: token }) });
    for (const trade of found.trades) {
      for (const id of [trade.buy_order_id, trade.sell_order_id]) {
        const side = this.orders.get(id);
        if (side) market.fills.set(`${trade.trade_id} ${id}`, { ...trade, id, side });
      }
    }
    bound(market.fills, FILLS_MAX);
    market.newest = Math.max(market.newest, Number(found.trades[0]?.sequence ?? 0));
    return { oldest: Number(found.trades.at(-1)?.sequence ?? 0), next: found.next_page_token };
  }

  /** One step further back. */
  async older() {
    this.shown += SHOWN_FIRST;
    this.button.disabled = true;
    const { markets } = this;
    try {
      await this.readOlder(markets);
    } catch {
      // What was found is shown; the button goes on from there.
    } finally {
      this.button.disabled = false;
    }
    if (markets === this.markets) this.show();
  }

  async readOlder(markets) {
    const done = () => markets !== this.markets || this.all().length >= this.shown;
    for (let page = 0; page < PAGES_AT_ONCE && this.ordersToken && !done(); page += 1) {
      const which = { client_id: this.client, page_size: PAGE, page_token: this.ordersToken };
      const { orders, next_page_token: next } = await get("/orders", which);
      if (markets !== this.markets) return;
      this.know(orders);
      this.ordersToken = next;
      if (!next) for (const market of markets.values()) market.token = "";
    }
    if (this.ordersToken) return;
    for (let page = 0; page < PAGES_AT_ONCE; page += 1) {
      for (const [instrument, market] of markets) {
        if (done()) return;
        if (market.ended) continue;
        market.token = (await this.readTrades(instrument, market, market.token)).next;
        market.ended = !market.token;
      }
    }
  }

  all() {
    const found = [...this.markets.values()].flatMap(({ fills }) => [...fills.values()]);
    return found.sort((a, b) => Number(b.sequence) - Number(a.sequence));
  }

  show() {
    const all = this.all();
    const ended = !this.ordersToken && [...this.markets.values()].every((market) => market.ended || !market.token);
    this.button.hidden = all.length <= this.shown && ended;
    byId("fills").replaceChildren(...all.slice(0, this.shown).map(({ timestamp, id, side, price, quantity }) => row(
      timeOf(timestamp), id, { text: side, className: side }, shown(price), shown(quantity),
    )));
  }
}
