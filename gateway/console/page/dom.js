// Makes nodes, and brings what is shown to what should be shown without making it anew: focus, selection and the
// place of a pointer outlive an update. No markup is ever parsed from text.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "vars") for (const [key, given] of Object.entries(value)) node.style.setProperty(key, given);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

// The children of `node` become like `wanted`. Listeners of what is already there stay as they are: put listeners of
// what changes on a parent.
export function show(node, ...wanted) {
  const fresh = document.createDocumentFragment();
  fresh.append(...wanted.flat(2).filter((one) => one !== null && one !== undefined && one !== false));
  alike(node, fresh);
}

function alike(old, fresh) {
  const have = [...old.childNodes], want = [...fresh.childNodes];
  want.forEach((one, index) => {
    const there = have[index];
    if (there === undefined) old.append(one);
    else if (there.nodeName !== one.nodeName || there.id !== one.id) there.replaceWith(one);
    else if (there.nodeType === Node.TEXT_NODE) {
      if (there.data !== one.data) there.data = one.data;
    } else {
      attributes(there, one);
      alike(there, one);
    }
  });
  for (const one of have.slice(want.length)) one.remove();
}

function attributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = fresh.style.cssText; // as an attribute our own rules forbid it
    else old.setAttribute(name, value);
  }
}

// A share 0..1 as a bar; the number stands beside it, so it is hidden from who does not see it.
export function bar(share, tone = "", held = 0) {
  const vars = { "--v": Math.min(1, Math.max(0, share ?? 0)), "--h": Math.min(1, Math.max(0, held)) };
  return h("span", { class: `meter ${tone}`, vars, "aria-hidden": "true" }, h("i"), held > 0 && h("b"));
}

let toastTimer = 0;
const TOAST_MS = 8000;

export function say(text, bad = false) {
  $("toasts").hidePopover?.();
  $("toasts").showPopover?.(); // above an open dialog too
  $("toasts").replaceChildren(h("p", { class: bad ? "toast bad" : "toast" }, bad ? "✕ " : "✓ ", text));
  // Read out is what changes in a place that was there before: not a popover's, nor one behind a dialog.
  const said = document.querySelector("dialog[open] .said") ?? document.querySelector("body > .said");
  said.textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    $("toasts").replaceChildren();
    for (const one of document.querySelectorAll(".said")) one.textContent = "";
  }, TOAST_MS);
}
