// Two views as tabs: arrow keys go from one to the other, as people who use a keyboard expect.

import { byId } from "./dom.js";

export function tabs(onShow) {
  const all = [...document.querySelectorAll('[role="tab"]')];
  const show = (chosen) => {
    for (const tab of all) {
      const is = tab === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !is;
    }
    onShow(chosen.getAttribute("aria-controls"));
  };
  all.forEach((tab, at) => {
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = all[(at + step + all.length) % all.length];
      next.focus();
      show(next);
    });
  });
}
