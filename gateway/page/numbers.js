// Prices and quantities. JSON gives doubles that stand for decimals of at most 15 digits and 8
// decimals; what a person types is taken exactly, as a BigInt of 10^-8.

const E8 = 100_000_000n;
const DECIMAL = /^(\d{1,12})(?:\.(\d{1,8}))?$/;

/** Units of 10^-8 of what was typed, or null where it is not a decimal that can be taken exactly. */
export function unitsOf(text) {
  const found = DECIMAL.exec(text.trim());
  if (!found) return null;
  const [, whole, part = ""] = found;
  const digits = (whole.replace(/^0+/, "") + part).replace(/^0+/, "");
  if (digits.length > 15) return null;
  return BigInt(whole) * E8 + BigInt(part.padEnd(8, "0"));
}

/** Units of 10^-8 of a number that came as JSON. */
export function unitsOfNumber(number) {
  if (Number.isSafeInteger(number)) return BigInt(number) * E8;
  const [whole, part = ""] = fixed(number).split(".");
  return BigInt(whole) * E8 + BigInt(part.padEnd(8, "0"));
}

/** The shortest decimal without an exponent. */
export function shown(number) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const text = String(number);
  return text.includes("e") ? fixed(number) : text;
}

/** The same as text, without the detour by a BigInt: for what is done with each update. */
export function unitsText(number) {
  const [whole, part = ""] = fixed(number).split(".");
  return (whole + part.padEnd(8, "0")).replace(/^0+(?=\d)/, "");
}

function fixed(number) {
  const text = String(number);
  return text.includes("e") ? number.toFixed(8).replace(/\.?0+$/, "") : text;
}

export function decimalsOf(number) {
  const text = shown(number);
  return text.includes(".") ? text.length - text.indexOf(".") - 1 : 0;
}

/** With as many decimals as the longest of `others`, so that a column lines up. */
export function column(numbers) {
  const decimals = numbers.reduce((most, each) => Math.max(most, decimalsOf(each)), 0);
  return (number) => number.toFixed(Math.min(decimals, 8));
}

export function signed(number) {
  return number > 0 ? `+${shown(number)}` : shown(number);
}

/** In UTC, as the chart's axis, the log and the command line are. */
export const timeOf = (timestamp) => new Date(timestamp).toISOString().slice(11, 19);

/** The same, with the day unless it is today. */
export function dayAndTimeOf(timestamp) {
  const [day, today] = [new Date(timestamp), new Date()].map((time) => time.toISOString().slice(0, 10));
  return day === today ? timeOf(timestamp) : `${day} ${timeOf(timestamp)}`;
}
