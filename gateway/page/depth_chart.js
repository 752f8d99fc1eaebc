// The cumulative depth of a book as a chart of the prices near its middle.

import { shown } from "./numbers.js";

const BAND = 6;
const TITLE_PX = 14;

/** The lowest and the highest price that are shown. One order far away doesn't count: levels are shown
 * up to six times as far from the middle as half of them are. */
export function band(bids, asks) {
  const middle = ((bids[0] ?? asks[0]).price + (asks[0] ?? bids[0]).price) / 2;
  const prices = [...bids, ...asks].map((level) => level.price);
  const distances = prices.map((price) => Math.abs(price - middle)).sort((a, b) => a - b);
  const most = distances[Math.floor((distances.length - 1) / 2)] * BAND;
  const near = prices.filter((price) => Math.abs(price - middle) <= most);
  return { low: Math.min(...near), high: Math.max(...near) };
}

/** Levels with their sums, the best first. */
export function drawDepth(canvas, bids, asks) {
  const pen = cleared(canvas);
  if (!bids.length && !asks.length) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  const { low, high } = band(bids, asks);
  const within = (levels) => levels.filter(({ price }) => low <= price && price <= high);
  const [near, far] = [within(bids), within(asks)];
  const most = Math.max(near.at(-1)?.sum ?? 0, far.at(-1)?.sum ?? 0);
  const colours = getComputedStyle(canvas);
  const x = (price) => (high > low ? (price - low) / (high - low) : 0.5) * width;
  const y = (sum) => height - (sum / most) * (height - TITLE_PX);
  for (const [levels, side, edge] of [[near, "buy", 0], [far, "sell", width]]) {
    if (!levels.length) continue;
    pen.beginPath();
    pen.moveTo(x(levels[0].price), height);
    let before = 0;
    for (const { price, sum } of levels) {
      pen.lineTo(x(price), y(before));
      pen.lineTo(x(price), y(sum));
      before = sum;
    }
    pen.lineTo(edge, y(before));
    pen.lineTo(edge, height);
    pen.fillStyle = colours.getPropertyValue(`--${side}-bar`);
    pen.strokeStyle = colours.getPropertyValue(`--${side}`);
    pen.fill();
    pen.stroke();
  }
  pen.fillStyle = colours.color;
  pen.font = "11px system-ui, sans-serif";
  for (const price of new Set([low, high])) {
    const text = shown(price);
    const room = width - pen.measureText(text).width - 4;
    pen.fillText(text, 2 + Math.max(0, Math.min(room, x(price))), 11);
  }
}

function cleared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
    canvas.width = width * ratio;
    canvas.height = height * ratio;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}
