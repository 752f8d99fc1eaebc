// One's own open orders, fills and positions, read from the exchange again after each thing that
// may have changed them, and now and then besides: so it repairs itself.

import { get, remove } from "./api.js";
import { byId, element, row, tell } from "./dom.js";
import { shown, signed, timeOf } from "./numbers.js";

const REFRESH_MS = 3_000;
const SOON_MS = 100;
const OPEN = ["open", "partially_filled"];
const ORDERS_MAX = 1_000;
const TRADES_MAX = 1_000;
const FILLS_SHOWN = 30;

export class Own {
  /** `onOpen(orders)` is told which orders rest. */
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.ids = new Set();
    this.fillsOf = new Map();
    setInterval(() => this.refresh(), REFRESH_MS);
  }

  follow(client) {
    this.client = client;
    this.fillsOf.clear();
    this.ids = new Set();
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
      const [recent, positions, ...open] = await Promise.all([
        get("/orders", which),
        get(`/market/positions/${encodeURIComponent(client)}`),
        ...OPEN.map((status) => get("/orders", { ...which, status })),
      ]);
      if (client !== this.client) return;
      const orders = open.flatMap((page) => page.orders).sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
      this.ids = new Set([...recent.orders, ...orders].map((order) => order.order_id));
      this.showOpen(orders);
      showPositions(positions.positions);
      await this.readFills(recent.orders, positions.positions);
    } catch {
      // The state of the connection says so; the next refresh is not far.
    } finally {
      this.refreshing = false;
    }
  }

  showOpen(orders) {
    this.onOpen(orders);
    // Rows that stay are kept, so that the focus of a keyboard stays on its button.
    const body = byId("open-orders");
    const kept = new Map([...body.children].map((line) => [line.dataset.order, line]));
    body.replaceChildren(...orders.map((order) => {
      const line = kept.get(order.order_id);
      if (line) line.children[5].textContent = shown(order.filled_quantity);
      return line ?? this.openRow(order);
    }));
  }

  openRow(order) {
    const button = element("button", { type: "button", "aria-label": `Cancel ${order.order_id}` }, "Cancel");
    button.addEventListener("click", () => this.cancel(order.order_id, button));
    const line = row(
      order.order_id, order.instrument, { text: order.side, className: order.side },
      shown(order.price), shown(order.quantity), shown(order.filled_quantity), button,
    );
    line.dataset.order = order.order_id;
    return line;
  }

  async cancel(orderId, button) {
    button.disabled = true;
    try {
      const { order } = await remove(`/orders/${encodeURIComponent(orderId)}`);
      tell(byId("own-answer"), `${order.order_id}: ${order.status}`, "taken");
    } catch (error) {
      button.disabled = false;
      tell(byId("own-answer"), error.message, "refused");
    }
    this.soon();
  }

  /** Read trades again only of markets in which the position has changed since. */
  async readFills(orders, positions) {
    const mine = new Map(orders.map((order) => [order.order_id, order]));
    for (const { instrument, last_updated: updated } of positions) {
      if (this.fillsOf.get(instrument)?.updated === updated) continue;
      const { trades } = await get("/market/trades", { instrument, limit: TRADES_MAX });
      const fills = trades.flatMap((trade) =>
        [trade.buy_order_id, trade.sell_order_id]
          .filter((id) => mine.has(id))
          .map((id) => ({ ...trade, order: mine.get(id) })),
      );
      this.fillsOf.set(instrument, { updated, fills });
    }
    const all = [...this.fillsOf.values()].flatMap(({ fills }) => fills);
    all.sort((a, b) => Number(b.sequence) - Number(a.sequence));
    byId("fills").replaceChildren(...all.slice(0, FILLS_SHOWN).map((fill) => row(
      timeOf(fill.timestamp), fill.order.order_id, { text: fill.order.side, className: fill.order.side },
      shown(fill.price), shown(fill.quantity),
    )));
  }
}

function showPositions(positions) {
  const money = (value) => ({ text: signed(value), className: value < 0 ? "sell" : "buy" });
  byId("positions").replaceChildren(...positions.map((held) => row(
    held.instrument, signed(held.net_quantity), shown(held.avg_price),
    money(held.realised_pnl), money(held.unrealised_pnl), shown(held.fees),
  )));
}
