// A table of any length as an ARIA grid: only the rows in sight are in the document, and they are used again while it
// scrolls. One tab stop; arrows move, Enter opens. What is drawn in a cell is drawn again only where it changed.

import { h } from "./dom.js";

const ROW = 36; // px, as --row in parts.css
const SPARE = 6; // rows drawn beyond each edge
const PAGE = 12; // rows, of Page Up and Page Down

export class Grid {
  // columns: [{id, title, width (fr or px), least (px), keep (higher stays longer), sort(row), draw(cell, row)}]
  constructor(host, { label, hint, columns, key, onOpen, onSort }) {
    Object.assign(this, { host, columns, key, onOpen, onSort, rows: [], slots: [], shown: columns, active: null, at: 0, column: 0 });
    this.head = h("div", { role: "row", class: "g-row g-head", "aria-rowindex": 1 });
    this.body = h("div", { role: "rowgroup", class: "g-body" });
    this.empty = h("div", { class: "g-empty", hidden: true });
    host.setAttribute("role", "grid");
    host.setAttribute("tabindex", "0");
    host.setAttribute("aria-label", label);
    host.setAttribute("aria-describedby", hint);
    host.setAttribute("aria-colcount", columns.length);
    host.append(h("div", { role: "rowgroup", class: "g-top" }, this.head), this.body);
    host.after(this.empty);
    host.addEventListener("scroll", () => this.#later(), { passive: true });
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#fit()).observe(host);
  }

  setRows(rows, sorted, ifEmpty) {
    this.rows = rows;
    this.host.setAttribute("aria-rowcount", rows.length + 1);
    this.body.style.height = `${rows.length * ROW}px`;
    this.empty.hidden = rows.length > 0;
    this.empty.textContent = rows.length > 0 ? "" : ifEmpty;
    if (this.at > 0 && this.active !== null) {
      const now = rows.findIndex((row) => this.key(row) === this.active);
      this.at = now >= 0 ? now + 1 : Math.min(this.at, rows.length);
      this.active = this.at > 0 ? this.key(rows[this.at - 1]) : null;
    }
    this.sorted = sorted;
    this.#head();
    this.draw();
  }

  // As many columns as there is room for; those with the least `keep` go first.
  #fit() {
    const room = this.host.clientWidth;
    if (room === 0) return;
    const shown = [...this.columns];
    const least = () => shown.reduce((all, one) => all + one.least, 0);
    while (shown.length > 2 && least() > room) {
      shown.splice(shown.indexOf(shown.reduce((a, b) => (b.keep < a.keep ? b : a))), 1);
    }
    const changed = shown.map((one) => one.id).join() !== this.shown.map((one) => one.id).join();
    this.shown = shown;
    this.column = Math.min(this.column, shown.length - 1);
    this.host.style.setProperty("--cols", shown.map((one) => `minmax(${one.least}px, ${one.width})`).join(" "));
    if (changed || this.head.childElementCount === 0) {
      this.slots = [];
      this.body.replaceChildren();
      this.head.replaceChildren();
      this.#head();
    }
    this.draw();
  }

  #head() {
    if (this.head.childElementCount === 0) {
      this.head.append(...this.shown.map((one) => {
        const index = this.columns.indexOf(one) + 1;
        return h("div", { role: "columnheader", id: `g-h-${one.id}`, "aria-colindex": index, "data-column": one.id, class: one.end ? "end" : null },
          one.title, h("span", { class: "arrow", "aria-hidden": "true" }));
      }));
    }
    for (const cell of this.head.children) {
      const mine = this.sorted?.by === cell.dataset.column;
      const way = !mine ? "none" : this.sorted.down ? "descending" : "ascending";
      cell.setAttribute("aria-sort", way);
      cell.lastChild.textContent = !mine ? "" : this.sorted.down ? " ↓" : " ↑";
    }
  }

  #later() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = undefined;
      this.draw();
    });
  }

  draw() {
    const height = this.host.clientHeight;
    if (height === 0) return;
    const room = Math.ceil(height / ROW) + 2 * SPARE;
    while (this.slots.length < Math.min(room, this.rows.length)) this.slots.push(this.#slot(this.slots.length));
    while (this.slots.length > Math.min(room, this.rows.length)) this.slots.pop().node.remove();
    const last = Math.max(0, this.rows.length - this.slots.length);
    const first = Math.min(last, Math.max(0, Math.floor(this.host.scrollTop / ROW) - SPARE));
    for (let index = first; index < first + this.slots.length; index++) {
      this.#put(this.slots[index % this.slots.length], index);
    }
    this.#point();
  }

  #slot(number) {
    const cells = this.shown.map((one) =>
      h("div", { role: "gridcell", id: `g-${number}-${one.id}`, "aria-colindex": this.columns.indexOf(one) + 1, class: one.end ? "end" : null }));
    const node = h("div", { role: "row", class: "g-row" }, cells);
    this.body.append(node);
    return { node, cells, index: -1 };
  }

  #put(slot, index) {
    const row = this.rows[index];
    if (slot.index !== index) {
      slot.index = index;
      slot.node.style.transform = `translateY(${index * ROW}px)`;
      slot.node.setAttribute("aria-rowindex", index + 2);
    }
    slot.node.dataset.tone = row.state === "out" ? "bad" : "";
    this.shown.forEach((one, place) => one.draw(slot.cells[place], row));
  }

  // Which cell the keyboard is at, for eyes and for screen readers.
  #point() {
    this.pointed?.classList.remove("at");
    this.pointed?.parentNode?.classList.remove("row-at");
    const slot = this.at > 0 ? this.slots.find((one) => one.index === this.at - 1) : null;
    const cell = this.at === 0 ? this.head.children[this.column] : slot?.cells[this.column];
    this.pointed = cell;
    if (!cell) {
      this.host.removeAttribute("aria-activedescendant");
      return;
    }
    cell.classList.add("at");
    if (slot) slot.node.classList.add("row-at");
    this.host.setAttribute("aria-activedescendant", cell.id);
  }

  #go(at, column) {
    this.at = Math.min(this.rows.length, Math.max(0, at));
    this.column = Math.min(this.shown.length - 1, Math.max(0, column));
    this.active = this.at > 0 ? this.key(this.rows[this.at - 1]) : null;
    const top = (this.at - 1) * ROW, room = this.host.clientHeight - ROW;
    if (this.at > 0 && top < this.host.scrollTop) this.host.scrollTop = top;
    if (this.at > 0 && top + ROW > this.host.scrollTop + room) this.host.scrollTop = top + ROW - room;
    this.draw();
  }

  #key(event) {
    const { at, column } = this;
    const far = event.ctrlKey || event.metaKey;
    const moves = {
      ArrowDown: [at + 1, column], ArrowUp: [at - 1, column], ArrowLeft: [at, column - 1], ArrowRight: [at, column + 1],
      PageDown: [at + PAGE, column], PageUp: [Math.max(at - PAGE, Math.min(at, 1)), column],
      Home: [far ? 1 : at, 0], End: [far ? this.rows.length : at, this.shown.length - 1],
    };
    if (event.key in moves && !event.altKey) this.#go(...moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#act();
    else return;
    event.preventDefault();
  }

  #act() {
    if (this.at === 0) this.onSort(this.shown[this.column].id);
    else if (this.rows[this.at - 1]) this.onOpen(this.rows[this.at - 1]);
  }

  #click(event) {
    const cell = event.target.closest("[role=gridcell], [role=columnheader]");
    if (!cell || getSelection().type === "Range") return;
    const slot = this.slots.find((one) => one.node === cell.parentNode);
    this.#go(slot ? slot.index + 1 : 0, [...cell.parentNode.children].indexOf(cell));
    this.#act();
  }
}
