// The dialog before anything is done: it names what will happen, does it, and stays with what went wrong.

import { reason } from "./access.js";
import { $, h, say } from "./dom.js";

// `doing(values)` is called with the form's values when people say yes; `done(told)` words its answer. Resolves to that
// answer, or to null where nothing was done.
export function confirmed({ title, consequence, action, doing, done, danger = false, fields = [] }) {
  const dialog = $("confirm");
  const form = h("form", { method: "dialog", autocomplete: "off" },
    h("h2", { id: "confirm-title" }, title),
    h("div", { id: "confirm-text" }, consequence.map((line) => h("p", null, line))),
    fields,
    h("p", { id: "confirm-fault", class: "fault", role: "alert" }),
    h("div", { class: "row end" },
      h("button", { type: "button", value: "no", id: "confirm-no" }, "Cancel"),
      h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary", id: "confirm-yes" }, action)));
  const [yes, fault] = [form.querySelector("#confirm-yes"), form.querySelector("#confirm-fault")];
  dialog.replaceChildren(form);
  return new Promise((settle) => {
    let answer = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      yes.disabled = true;
      fault.textContent = "";
      try {
        answer = await doing(Object.fromEntries([...form.querySelectorAll("input")].map((one) => [one.name, one.value])));
        if (form.isConnected) dialog.close();
        say(done(answer));
      } catch (wrong) {
        yes.disabled = false;
        if (form.isConnected) {
          fault.textContent = `✕ Not done: ${reason(wrong)}`;
          yes.focus(); // which it lost when it was disabled
        } else say(`${title} Not done: ${reason(wrong)}`, true); // nobody waits at the dialog any more
      }
    });
    form.querySelector("#confirm-no").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.replaceChildren();
      settle(answer);
    }, { once: true });
    dialog.showModal();
    (form.querySelector("input") ?? form.querySelector("#confirm-no")).focus();
  });
}
