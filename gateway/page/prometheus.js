// Figures in Prometheus' text format, and what can be made of two looks at them.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

const WINDOW_MS = 60_000;
const NONE = new Map();

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

/** What one process says of itself, at each of the looks of the last minute. */
export class Source {
  constructor() {
    this.looks = [];
  }

  take(text) {
    const now = { at: performance.now(), figures: parse(text) };
    // Counters begin again with the process.
    if (this.looks.length && begunAgain(this.figures, now.figures)) this.looks = [];
    this.looks = [...this.looks.filter(({ at }) => now.at - at <= WINDOW_MS), now];
  }

  get figures() {
    return this.looks.at(-1)?.figures ?? NONE;
  }

  /** Figures of the look before, and how long ago that was; null: there was none. */
  get before() {
    const [before, now] = this.looks.slice(-2);
    return now ? { figures: before.figures, seconds: (now.at - before.at) / 1_000 } : null;
  }

  get oldest() {
    return this.looks.length > 1 ? this.looks[0].figures : null;
  }

  /** How many a second since the look before; null: not known. */
  rate(name) {
    const { before, figures } = this;
    return before && (sum(figures, name) - sum(before.figures, name)) / before.seconds;
  }
}

/** Whether the process that counts is another one; what is told of each part falls with that part. */
const begunAgain = (before, now) => [...now.keys()].some((name) =>
  name.endsWith("_total") && !name.startsWith("part_") && sum(now, name) < sum(before, name));

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
