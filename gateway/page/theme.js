// Light or dark: as the system says until the button is used, then as chosen.

import { byId, store, stored } from "./dom.js";

const KEY = "exchange.theme";

export function theme(onChange) {
  const root = document.documentElement;
  const chosen = stored(KEY);
  if (chosen) root.dataset.theme = chosen;
  byId("theme")?.addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store(KEY, root.dataset.theme);
    onChange();
  });
}
