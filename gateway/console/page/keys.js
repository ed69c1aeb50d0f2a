// Keys of one letter, the theme, and the page that tells of them. What is remembered here is looks, never data.

import { $, h } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const THEME_SLOT = "gateway-theme", KEYS_SLOT = "gateway-keys";
const KEYS = [
  ["1 to 5", "Overview, Fleet, Policy, Receipts, Explain"],
  ["/", "to the filter or the search"],
  ["p", "pause or go on"],
  ["t", "theme: auto, light, dark"],
  ["?", "this help"],
  ["↑ ↓ ← →, Home, End, Page Up, Page Down", "move in the fleet"],
  ["Enter", "open a worker; on a heading: sort by it"],
  ["Esc", "close what is open"],
];

export function applyTheme(name = localStorage.getItem(THEME_SLOT) ?? "auto") {
  const theme = THEMES.includes(name) ? name : "auto";
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

export function nextTheme() {
  const now = document.documentElement.dataset.theme;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  localStorage.setItem(THEME_SLOT, next);
  applyTheme(next);
}

export function mountKeys(actions) {
  const on = () => localStorage.getItem(KEYS_SLOT) !== "off";
  const help = $("help");
  help.append(
    h("header", null, h("h2", { id: "help-title" }, "Keys"), h("button", { type: "button", class: "quiet", id: "help-close" }, "Close")),
    h("dl", { class: "facts" }, KEYS.map(([key, what]) => [h("dt", null, h("kbd", null, key)), h("dd", null, what)])),
    h("label", { class: "check" }, h("input", { type: "checkbox", id: "keys-on" }), " Keys of one letter"));
  const show = () => {
    $("keys-on").checked = on();
    help.showModal();
  };
  $("keys-on").addEventListener("change", () => localStorage.setItem(KEYS_SLOT, $("keys-on").checked ? "on" : "off"));
  $("help-close").addEventListener("click", () => help.close());
  $("help-button").addEventListener("click", show);
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest("input, textarea, select, dialog");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !on()) return;
    const action = event.key === "?" ? show : actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
}
