// The market that is shown, from the streams over HTTP.

import { followLines } from "./lines.js";

const REFUSED = 400;

/** Until the signal; `feed` takes what comes. */
export function followOverHttp(feed, signal) {
  const { handlers } = feed;
  const instrument = encodeURIComponent(feed.instrument);
  followLines(() => `/market/orderbook/stream?instrument=${instrument}`, signal, {
    onLine: (line) => {
      handlers.onState(true);
      return feed.takeDepth({ ...line, previousSequence: line.previous_sequence });
    },
    onEnd: () => handlers.onState(false),
  });
  const from = () => (feed.known ? `&from_sequence=${feed.tradesSequence}` : "");
  followLines(() => `/market/trades/stream?instrument=${instrument}${from()}`, signal, {
    onLine: (line) => {
      if (line.restarted) feed.loadTrades();
      // The first line of a resumed stream begins one before where it was asked to.
      feed.takeTrades(line.trades, line, () => feed.loadTrades());
    },
    onEnd: (status) => {
      handlers.onState(false);
      if (status !== REFUSED || !feed.known) return;
      feed.forget();
      feed.loadTrades();
    },
  });
}
