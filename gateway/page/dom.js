// Elements, and what the browser remembers. Text goes in as text: nothing here, or anywhere on the
// page, parses markup.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings and numbers become text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "scope") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** A table row. A cell is text, an element, or `{text, className}`. */
export function row(...cells) {
  return element("tr", {}, ...cells.map((cell) => {
    if (cell instanceof Node) return element("td", {}, cell);
    if (cell !== null && typeof cell === "object") return element("td", { className: cell.className }, cell.text);
    return element("td", {}, cell);
  }));
}

/** Make these the children, in this order; one that stays is not taken out, which would cost it the focus. */
export function arrange(parent, children) {
  const stay = new Set(children);
  for (const child of [...parent.children]) if (!stay.has(child)) child.remove();
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}

/** Say something where it is announced; `kind` is `taken`, `refused` or empty. */
export function tell(target, sentence, kind = "") {
  target.textContent = sentence;
  target.dataset.kind = kind;
}

/** The text that the browser remembers, or null: some are told to store nothing. */
export function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Remember a text where the browser does. */
export function store(key, text) {
  try {
    localStorage.setItem(key, text);
  } catch {
    // Refused, or full: it holds until the page is closed.
  }
}
