// The order ticket. Numbers are sent as they were typed. Each order has a key, kept until its
// outcome is known, so that sending it again after a lost answer places nothing twice, whatever was
// sent in between.

import { Refused, newKey, post } from "./api.js";
import { byId, store, stored, tell } from "./dom.js";
import { shown } from "./numbers.js";
import { fault } from "./order_checks.js";

const CLIENT_KEY = "exchange.client_id";
const UNANSWERED_MAX = 100;

export class Ticket {
  constructor({ onPlaced, onClient }) {
    this.form = byId("ticket");
    this.submit = this.form.querySelector("[type=submit]");
    this.answer = byId("ticket-answer");
    this.onPlaced = onPlaced;
    // Keys by the order.
    this.unanswered = new Map();
    this.fields = this.form.elements;
    this.fields.client_id.value = stored(CLIENT_KEY) ?? "trader-1";
    this.fields.client_id.addEventListener("change", () => {
      store(CLIENT_KEY, this.client);
      onClient(this.client);
    });
    this.form.addEventListener("input", () => this.changed());
    // What a person chose stays; only what the type of a market order made necessary goes with it.
    this.fields.time_in_force.addEventListener("input", () => (this.replaced = false));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.place();
    });
    // A key held down, or the second click of a double one, is not meant for another order.
    this.form.addEventListener("keydown", (event) => {
      if (event.repeat && event.key === "Enter") event.preventDefault();
    });
    this.submit.addEventListener("click", (event) => {
      if (event.detail > 1) event.preventDefault();
    });
    this.changed();
  }

  get client() {
    return this.fields.client_id.value.trim();
  }

  /** The market that is shown, and within which numbers it trades. */
  show(terms) {
    // A price is one of a market.
    if (this.terms && this.terms.instrument !== terms.instrument) this.fields.price.value = "";
    this.terms = terms;
    this.changed();
  }

  price(text) {
    this.fields.price.value = text;
    this.changed();
  }

  order() {
    const { fields } = this;
    const order = {
      client_id: this.client,
      instrument: this.terms.instrument,
      side: fields.side.value,
      type: fields.type.value,
      quantity: fields.quantity.value.trim(),
      time_in_force: fields.time_in_force.value,
      post_only: fields.post_only.checked,
    };
    if (order.type === "limit") order.price = fields.price.value.trim();
    if (fields.self_trade_prevention.value) order.self_trade_prevention = fields.self_trade_prevention.value;
    return order;
  }

  changed() {
    const { fields } = this;
    const limit = fields.type.value === "limit";
    byId("price-label").hidden = !limit;
    fields.post_only.disabled = !limit || fields.time_in_force.value !== "gtc";
    if (fields.post_only.disabled) fields.post_only.checked = false;
    const good = fields.time_in_force.options[0];
    good.disabled = !limit;
    if (!limit && fields.time_in_force.value === "gtc") {
      fields.time_in_force.value = "ioc";
      this.replaced = true;
    } else if (limit && this.replaced) {
      fields.time_in_force.value = "gtc";
      this.replaced = false;
    }
    this.tellOrder();
    for (const each of this.form.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
  }

  /** On the button what it places; below the fields what that costs, if it can be placed. */
  tellOrder() {
    if (!this.terms) return;
    const { instrument } = this.terms;
    const order = this.order();
    this.submit.textContent = `${order.side === "buy" ? "Buy" : "Sell"} ${instrument}`;
    const known = order.type === "limit" && !fault(order, this.terms);
    const cost = known && Number((order.price * order.quantity).toPrecision(12));
    byId("ticket-cost").textContent = known ? `${shown(cost)} ${instrument.split("-")[1] ?? ""}` : "";
  }

  async place() {
    if (this.sending) return;
    if (!this.terms) {
      tell(this.answer, "what can be traded is not known yet: place it again once the page is live", "refused");
      return;
    }
    const order = this.order();
    const wrong = fault(order, this.terms);
    if (wrong) {
      this.fields[wrong.field].setAttribute("aria-invalid", "true");
      this.fields[wrong.field].focus();
      tell(this.answer, wrong.sentence, "refused");
      return;
    }
    this.sending = true;
    tell(this.answer, "sending…");
    const content = JSON.stringify(order);
    const key = this.unanswered.get(content) ?? newKey();
    this.unanswered.set(content, key);
    if (this.unanswered.size > UNANSWERED_MAX) this.unanswered.delete(this.unanswered.keys().next().value);
    try {
      const placed = await post("/orders", { ...order, idempotency_key: key });
      this.unanswered.delete(content);
      tell(this.answer, sentenceOf(placed), placed.order.status === "rejected" ? "refused" : "taken");
      this.onPlaced(placed);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (!error.isOpen) this.unanswered.delete(content);
      const again = error.isOpen ? ". Sending the same again places it at most once." : "";
      tell(this.answer, `${error.message}${again}`, "refused");
    } finally {
      this.sending = false;
    }
  }
}

function sentenceOf({ order }) {
  const filled = order.filled_quantity ? `, ${shown(order.filled_quantity)} filled` : "";
  const why = order.reject_reason ? ` (${order.reject_reason.replaceAll("_", " ")})` : "";
  return `${order.order_id}: ${order.status.replaceAll("_", " ")}${filled}${why}`;
}
