// Figures in Prometheus' text format, and what can be made of two looks at them.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Samples by name: `[{labels, value}]`. */
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : SAMPLE.exec(line);
    if (!match) continue;
    const [, name, inside = "", value] = match;
    const labels = Object.fromEntries([...inside.matchAll(LABEL)].map(([, key, text]) => [key, text]));
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels, value: Number(value) });
  }
  return found;
}

export const sum = (figures, name) => (figures.get(name) ?? []).reduce((all, { value }) => all + value, 0);

/** A histogram's counts up to each bound. */
function buckets(figures, name) {
  return (figures.get(`${name}_bucket`) ?? []).map(({ labels, value }) => [
    labels.le === "+Inf" ? Infinity : Number(labels.le), value,
  ]);
}

/** The bound below which this share of what came between two looks lies; null: nothing came. */
export function percentile(before, after, name, share) {
  const old = new Map(before ? buckets(before, name) : []);
  const counts = buckets(after, name).map(([bound, count]) => [bound, count - (old.get(bound) ?? 0)]);
  const all = counts.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  return counts.find(([, count]) => count >= all * share)[0];
}
