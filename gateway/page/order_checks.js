// What can be said about an order before it is sent. The exchange judges it again.

import { shown, unitsOf, unitsOfNumber } from "./numbers.js";

const ID = /^[A-Za-z0-9._:-]{1,64}$/;

/** `{field, sentence}` of the first thing that is wrong, or null. */
export function fault(order, terms) {
  if (!ID.test(order.client_id)) {
    return { field: "client_id", sentence: `client “${order.client_id}”: give 1 to 64 of A-Z a-z 0-9 . _ : -` };
  }
  const quantity = judge("quantity", order.quantity, terms.lot_size, terms.min_quantity, terms.max_quantity);
  if (quantity) return { field: "quantity", sentence: quantity };
  if (order.type === "limit") {
    const price = judge("price", order.price, terms.tick_size, terms.min_price, terms.max_price);
    if (price) return { field: "price", sentence: price };
  } else if (order.time_in_force === "gtc") {
    return { field: "time_in_force", sentence: "a market order never rests: choose immediate or cancel, or fill or kill" };
  }
  if (order.post_only && (order.type !== "limit" || order.time_in_force !== "gtc")) {
    return { field: "post_only", sentence: "post only goes with a limit order that is good till cancel" };
  }
  return null;
}

/** What is wrong with a number, as a sentence, or null. */
export function judge(name, text, step, least, most) {
  const units = unitsOf(text);
  if (units === null) return `${name} “${text}”: give a number such as 0.25, at most 8 decimals and 15 digits`;
  if (units === 0n) return `${name} is 0: give more`;
  if (units % unitsOfNumber(step)) return `${name} ${text} is not a multiple of ${shown(step)}`;
  if (units < unitsOfNumber(least)) return `${name} ${text} is below the least, ${shown(least)}`;
  // The greatest of all is printed rounded.
  if (Number(text) > most) return `${name} ${text} is above the most, ${shown(most)}`;
  return null;
}
