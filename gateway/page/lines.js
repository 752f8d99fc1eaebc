// The same market over HTTP, line by line, where no WebSocket can be had.

const DELAY_MS = 1_000;

/** Read lines of JSON from `path()` until the signal; open it again whenever it ends: `onEnd(status)`. */
export async function followLines(path, signal, { onLine, onEnd }) {
  while (!signal.aborted) {
    let status;
    try {
      const reply = await fetch(path(), { signal });
      status = reply.status;
      if (reply.ok) await readLines(reply.body, onLine);
    } catch {
      // Lost: what to do is the same as after an end.
    }
    if (signal.aborted) return;
    onEnd(status);
    await new Promise((resolve) => setTimeout(resolve, DELAY_MS));
  }
}

async function readLines(body, onLine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    // `false` ends this reading, to begin again.
    if (!lines.filter(Boolean).every((line) => onLine(JSON.parse(line)) !== false)) {
      await reader.cancel();
      return;
    }
  }
}
