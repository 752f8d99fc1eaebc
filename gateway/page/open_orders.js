// One's own open orders: each can be changed, in its row, or cancelled.
//
// No browser sends `.` or `..` as a part of a path: an order of that id is changed and cancelled over the
// WebSocket, others over HTTP. Rows that stay are kept, so that the focus of a keyboard stays where it
// was, and what is being typed too. From a row that goes it moves to the next one.

import { Refused, newKey, post, remove } from "./api.js";
import { arrange, byId, element, tell } from "./dom.js";
import { shown } from "./numbers.js";
import { judge } from "./order_checks.js";

export class OpenOrders {
  /** `ask(frame)` sends over the WebSocket; `termsOf(instrument)` gives its limits; `onChange()` is called
   * after each attempt. */
  constructor({ ask, termsOf, onChange }) {
    this.ask = ask;
    this.termsOf = termsOf;
    this.onChange = onChange;
    this.body = byId("open-orders");
    this.rows = new Map();
  }

  show(orders) {
    const before = [...this.rows.values()];
    const focused = document.activeElement;
    const at = before.findIndex((row) => row.line.contains(focused));
    const rows = new Map();
    for (const order of orders) {
      const row = this.rows.get(order.order_id) ?? new Row(order, this);
      row.show(order);
      rows.set(order.order_id, row);
    }
    this.rows = rows;
    arrange(this.body, [...rows.values()].map((row) => row.line));
    if (at < 0 || before[at].line.isConnected) return;
    const near = [...before.slice(at + 1), ...before.slice(0, at).reverse()].find((row) => row.line.isConnected);
    if (near) near.focus(focused === before[at].cancel ? near.cancel : near.change);
    else this.body.closest('[role="region"]').focus();
  }

  /** Do something with an order, and say what came of it. */
  async attempt(button, call) {
    // Not `disabled`, which would take the focus from it.
    button.setAttribute("aria-disabled", "true");
    let done = false;
    try {
      tell(byId("own-answer"), sentenceOf(await call()), "taken");
      done = true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const again = error.isOpen ? ". Look at the order, or send the same again, which does it at most once." : "";
      tell(byId("own-answer"), `${error.message}${again}`, "refused");
    } finally {
      button.removeAttribute("aria-disabled");
    }
    this.onChange();
    return done;
  }
}

class Row {
  constructor(order, table) {
    this.table = table;
    this.cells = Object.fromEntries(
      ["order_id", "instrument", "side", "price", "quantity", "filled_quantity", "actions"].map((name) => [name, element("td")]),
    );
    const { order_id: id, side } = order;
    this.cells.side.className = side;
    this.change = action("Change", id, () => this.edit());
    this.cancel = action("Cancel", id, () => this.remove());
    this.save = action("Save", id, () => this.send());
    this.keep = action("Keep", id, () => this.leave(this.change));
    this.cells.actions.append(this.change, " ", this.cancel);
    this.line = element("tr", {}, ...Object.values(this.cells));
    this.line.addEventListener("keydown", (event) => {
      // A key held down is meant for this order, not for those that the focus moves to.
      if (event.repeat && event.key === "Enter") event.preventDefault();
      if (event.repeat || !this.inputs) return;
      if (event.key === "Escape") this.leave(this.change);
      if (event.key === "Enter" && event.target.tagName === "INPUT") this.send();
    });
  }

  show(order) {
    this.order = order;
    for (const name of ["order_id", "instrument", "side"]) this.put(name, order[name]);
    this.put("filled_quantity", shown(order.filled_quantity));
    if (this.inputs) return;
    this.put("price", shown(order.price));
    this.put("quantity", shown(order.quantity));
  }

  put(name, text) {
    if (this.cells[name].textContent !== text) this.cells[name].textContent = text;
  }

  /** Focus this button of the row; while it is being changed, the one that ends that. */
  focus(button) {
    (this.inputs ? this.keep : button).focus();
  }

  edit() {
    this.inputs = Object.fromEntries(["price", "quantity"].map((name) => {
      const input = element("input", {
        defaultValue: shown(this.order[name]), inputMode: "decimal", maxLength: 24,
        "aria-label": `New ${name} of ${this.order.order_id}`,
      });
      this.cells[name].replaceChildren(input);
      return [name, input];
    }));
    this.cells.actions.replaceChildren(this.save, " ", this.keep);
    this.inputs.price.focus();
  }

  leave(focused) {
    this.inputs = null;
    this.cells.actions.replaceChildren(this.change, " ", this.cancel);
    this.show(this.order);
    focused.focus();
  }

  async send() {
    const { order, inputs, table } = this;
    const terms = table.termsOf(order.instrument);
    const limits = { price: [terms.tick_size, terms.min_price, terms.max_price], quantity: [terms.lot_size, terms.min_quantity, terms.max_quantity] };
    // Only what was typed: the rest may be shown rounded, or have been changed elsewhere meanwhile.
    const changed = {};
    for (const [name, input] of Object.entries(inputs)) {
      const text = input.value.trim();
      const typed = text !== input.defaultValue;
      const wrong = typed && judge(name, text, ...limits[name]);
      input.setAttribute("aria-invalid", String(Boolean(wrong)));
      if (wrong) {
        tell(byId("own-answer"), wrong, "refused");
        input.focus();
        return;
      }
      if (typed) changed[name] = text;
    }
    if (!Object.keys(changed).length) {
      this.leave(this.change);
      return;
    }
    const content = JSON.stringify(changed);
    // The same change has the same key, so that sending it again after a lost answer does no more.
    if (this.unanswered !== content) this.key = newKey();
    this.unanswered = content;
    const body = { client_id: order.client_id, idempotency_key: this.key, ...changed };
    const call = () => (hasPath(order)
      ? post(`${pathOf(order)}/replace`, body) : table.ask({ type: "replace", order_id: order.order_id, ...body }));
    if (await table.attempt(this.save, call)) {
      this.unanswered = null;
      this.leave(this.change);
    }
  }

  async remove() {
    const { order, table } = this;
    const call = () => (hasPath(order) ? remove(pathOf(order)) : table.ask({ type: "cancel", order_id: order.order_id }));
    // Once it is cancelled, until the row goes.
    if (await table.attempt(this.cancel, call)) this.cancel.setAttribute("aria-disabled", "true");
  }
}

function action(word, orderId, act) {
  const button = element("button", { type: "button", "aria-label": `${word} ${orderId}` }, word);
  button.addEventListener("click", (event) => {
    // The second click of a double one is not meant for the row that came here after the first.
    if (event.detail <= 1 && !button.hasAttribute("aria-disabled")) act();
  });
  return button;
}

const hasPath = (order) => order.order_id !== "." && order.order_id !== "..";
const pathOf = (order) => `/orders/${encodeURIComponent(order.order_id)}`;

function sentenceOf({ order, trades }) {
  // A cancel's answer has no trades.
  const what = trades ? `changed to ${shown(order.quantity)} at ${shown(order.price)}, ` : "";
  return `${order.order_id}: ${what}${order.status.replaceAll("_", " ")}`;
}
