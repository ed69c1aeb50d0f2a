// The dialog before anything is done: it names what will happen. Resolves to the form's values, or null.

import { $, h } from "./dom.js";

export function confirmed({ title, consequence, action, danger = false, fields = [] }) {
  const dialog = $("confirm");
  const form = h("form", { method: "dialog", autocomplete: "off" },
    h("h2", { id: "confirm-title" }, title),
    h("div", { id: "confirm-text" }, consequence.map((line) => h("p", null, line))),
    fields,
    h("div", { class: "row end" },
      h("button", { type: "button", value: "no", id: "confirm-no" }, "Cancel"),
      h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary", id: "confirm-yes" }, action)));
  dialog.replaceChildren(form);
  return new Promise((done) => {
    let answer = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = Object.fromEntries([...form.querySelectorAll("input")].map((one) => [one.name, one.value]));
      dialog.close();
    });
    form.querySelector("#confirm-no").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.replaceChildren();
      done(answer);
    }, { once: true });
    dialog.showModal();
    (form.querySelector("input") ?? form.querySelector("#confirm-no")).focus();
  });
}
