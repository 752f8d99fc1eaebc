// A copy of one book, made of a snapshot and the deltas after it.
//
// A delta fits where its previous sequence is the copy's sequence and the checksum over the ten best
// levels a side agrees afterwards. Anything else makes the copy void until the next snapshot, which
// whoever applies the messages has to ask for. The checksum is CRC-32C over `price:quantity` in
// units of 10^-8, joined by `,`, bids best first, then `|`, then asks. JSON rounds a sum of more than
// 15 digits; a snapshot whose own checksum does not agree holds such a sum, and then only sequences
// are compared.

import { unitsText } from "./numbers.js";

const CHECKED_LEVELS = 10;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

export function crc32c(text) {
  let value = 0xffffffff;
  for (let at = 0; at < text.length; at += 1) {
    value = CRC_TABLE[(value ^ text.charCodeAt(at)) & 0xff] ^ (value >>> 8);
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** One side: quantity and its text in the checksum by price, and the prices, the best first. */
class Side {
  constructor(direction) {
    this.direction = direction;
    this.quantities = new Map();
    this.texts = new Map();
    this.prices = [];
  }

  replace(levels) {
    this.quantities = new Map(levels.map(({ price, quantity }) => [price, quantity]));
    this.texts.clear();
    this.prices = [...this.quantities.keys()].sort((a, b) => (a - b) * this.direction);
  }

  change({ price, quantity }) {
    const known = this.quantities.has(price);
    this.texts.delete(price);
    if (quantity > 0) this.quantities.set(price, quantity);
    else this.quantities.delete(price);
    if (known === quantity > 0) return;
    const at = this.place(price);
    if (known) this.prices.splice(at, 1);
    else this.prices.splice(at, 0, price);
  }

  place(price) {
    let low = 0;
    let high = this.prices.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.prices[middle] - price) * this.direction < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The best levels with what rests up to each. */
  best(count) {
    let sum = 0;
    return this.prices.slice(0, count).map((price) => {
      const quantity = this.quantities.get(price);
      sum = Number((sum + quantity).toPrecision(15));
      return { price, quantity, sum };
    });
  }

  text() {
    const { prices, texts } = this;
    const count = Math.min(prices.length, CHECKED_LEVELS);
    let all = "";
    for (let at = 0; at < count; at += 1) {
      const price = prices[at];
      let text = texts.get(price);
      if (text === undefined) {
        text = `${unitsText(price)}:${unitsText(this.quantities.get(price))}`;
        texts.set(price, text);
      }
      all += at ? `,${text}` : text;
    }
    return all;
  }
}

export class Book {
  constructor() {
    this.bids = new Side(-1);
    this.asks = new Side(1);
    this.sequence = null;
    this.exact = false;
  }

  get ready() {
    return this.sequence !== null;
  }

  /** Whether the message fitted; where it did not the copy is void. */
  apply(message) {
    if (message.type === "snapshot") {
      this.bids.replace(message.bids);
      this.asks.replace(message.asks);
      this.sequence = message.sequence;
      this.exact = this.checksum() === message.checksum;
      return true;
    }
    if (!this.ready || message.previousSequence !== this.sequence) return this.lose();
    for (const level of message.bids) this.bids.change(level);
    for (const level of message.asks) this.asks.change(level);
    this.sequence = message.sequence;
    return !this.exact || this.checksum() === message.checksum || this.lose();
  }

  checksum() {
    return crc32c(`${this.bids.text()}|${this.asks.text()}`);
  }

  lose() {
    this.sequence = null;
    return false;
  }
}
