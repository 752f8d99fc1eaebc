// One's own open orders, fills and positions, read from the exchange again after each thing that
// may have changed them, and now and then besides: so it repairs itself.

import { get } from "./api.js";
import { byId, row } from "./dom.js";
import { Fills } from "./fills.js";
import { shown, signed } from "./numbers.js";
import { OpenOrders } from "./open_orders.js";

const REFRESH_MS = 3_000;
const SOON_MS = 100;
const ORDERS_MAX = 1_000;

export class Own {
  /** `onOpen(orders)` is told which orders rest; the others are what `OpenOrders` needs. */
  constructor({ onOpen, ask, termsOf }) {
    this.onOpen = onOpen;
    this.ids = new Set();
    this.openOrders = new OpenOrders({ ask, termsOf, onChange: () => this.soon() });
    this.fills = new Fills();
    setInterval(() => this.refresh(), REFRESH_MS);
  }

  follow(client) {
    this.client = client;
    this.fills.follow(client);
    this.ids = new Set();
    this.onOpen([]);
    this.openOrders.show([]);
    byId("more-open-orders").hidden = true;
    showPositions([]);
    this.refresh();
  }

  /** Trades of the market that is shown: some may be one's own. */
  take(trades) {
    if (trades.some((trade) => this.ids.has(trade.buy_order_id) || this.ids.has(trade.sell_order_id))) this.soon();
  }

  /** Refresh once for everything of the next moment. */
  soon() {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.refresh();
    }, SOON_MS);
  }

  async refresh() {
    const { client } = this;
    if (!client || document.hidden) return;
    if (this.refreshing) {
      this.soon();
      return;
    }
    this.refreshing = true;
    try {
      const which = { client_id: client, page_size: ORDERS_MAX };
      const [recent, { orders, next_page_token: more }] = await Promise.all([
        get("/orders", which),
        get("/orders", { ...which, status: "working" }),
      ]);
      if (client !== this.client) return;
      this.ids = new Set([...recent.orders, ...orders].map((order) => order.order_id));
      byId("more-open-orders").hidden = !more;
      this.onOpen(orders);
      this.openOrders.show(orders);
      // After the orders, which are shown also of a client whose id no path can hold: `..`.
      const { positions } = await get(`/market/positions/${encodeURIComponent(client)}`);
      if (client !== this.client) return;
      showPositions(positions);
      await this.fills.take(positions);
    } catch {
      // The state of the connection says so; the next refresh is not far.
    } finally {
      this.refreshing = false;
    }
  }
}

function showPositions(positions) {
  const money = (value) => ({ text: signed(value), className: value < 0 ? "sell" : "buy" });
  byId("positions").replaceChildren(...positions.map((held) => row(
    held.instrument, signed(held.net_quantity), shown(held.avg_price),
    money(held.realised_pnl), money(held.unrealised_pnl), shown(held.fees),
  )));
}
