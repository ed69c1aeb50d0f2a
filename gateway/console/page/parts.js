// What several views are made of.

import { h } from "./dom.js";
import { NONE } from "./words.js";

export const muted = (...text) => h("span", { class: "muted" }, text);
export const code = (text) => h("code", null, text);
export const outcome = (name, text = name) => h("span", { class: `outcome o-${name}` }, text);
export const cell = (content, kind = null) => h("td", { class: kind }, content ?? NONE);
export const number = (content) => cell(content, "end");
export const title = (...content) => h("th", { scope: "row" }, content);
export const button = (id, text, kind = null) => h("button", { type: "button", id, class: kind }, text);

// Headings; those that end with `#` stand over numbers.
export const heads = (...titles) => h("thead", null, h("tr", null, titles.map((one) =>
  h("th", { scope: "col", class: one.endsWith("#") ? "end" : null }, one.replace("#", "")))));

// [term, value] pairs.
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([term, value]) => [h("dt", null, term), h("dd", null, value ?? NONE)]));

// A place that scrolls sideways where it is too wide, by keyboard too.
export const wide = (label, ...content) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, content);

export const list = (lines, props = null) => h("ul", props, lines.map((line) => h("li", null, line)));
export const arrows = (line) => line.replaceAll("->", "→");
