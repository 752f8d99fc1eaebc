// Calls of the HTTP JSON interface, each ended after a time.

const CALL_MS_MAX = 10_000;

/** What the exchange, or the way to it, refused: `message` is its sentence, `content` all it said. */
export class Refused extends Error {
  constructor(message, status, content) {
    super(message);
    this.status = status;
    this.content = content;
  }

  /** Whether what was asked for may have happened all the same. */
  get isOpen() {
    return this.status === 0 || this.status >= 500;
  }
}

async function call(method, path, body, ms = CALL_MS_MAX) {
  let reply;
  let text;
  try {
    reply = await fetch(path, {
      method,
      headers: { accept: "application/json", ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(ms),
    });
    text = await reply.text();
  } catch {
    throw new Refused("the exchange can't be reached at this moment; try again", 0);
  }
  if (reply.ok && !reply.headers.get("content-type")?.startsWith("application/json")) return text;
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Refused(`the exchange answered ${reply.status} without saying why`, reply.status);
  }
  if (!reply.ok) throw new Refused(content.error ?? `refused with ${reply.status}`, reply.status, content);
  return content;
}

const query = (values) => new URLSearchParams(values).toString();

export const get = (path, values = {}, ms = CALL_MS_MAX) =>
  call("GET", Object.keys(values).length ? `${path}?${query(values)}` : path, undefined, ms);
export const post = (path, body) => call("POST", path, body);
export const remove = (path) => call("DELETE", path);

/** For one thing that is to happen at most once, however often it is sent. */
export const newKey = () => `page-${crypto.getRandomValues(new BigUint64Array(2)).join("-")}`;
