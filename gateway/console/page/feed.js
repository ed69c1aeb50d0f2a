// The live feed, /admin/v1/live: server-sent events read by fetch(), because EventSource cannot send a key.

import { open, Refused } from "./access.js";

const SILENCE_MS = 35000; // a comment comes every 15 s: this is two that did not
const HIDDEN_MS = 60000; // a page that nobody looks at for so long lets go of the feed
const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 10000;

export class Feed {
  // onEvent(kind, data); onState("connecting" | "live" | "reconnecting" | "asleep" | "refused", fault). `heard` is when
  // the gateway last said anything, be it that there is no news: ms as Date.now(), 0 for never.
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.running = null;
    this.heard = 0;
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  start() {
    this.stop();
    this.running = new AbortController();
    this.#run(this.running.signal);
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  #visibility() {
    clearTimeout(this.hiding);
    if (document.hidden && this.running) {
      this.hiding = setTimeout(() => {
        this.stop();
        this.asleep = true;
        this.onState("asleep");
      }, HIDDEN_MS);
    } else if (!document.hidden && this.asleep) {
      this.asleep = false;
      this.start();
    }
  }

  async #run(over) {
    this.onState("connecting");
    let pause = FIRST_PAUSE_MS;
    while (!over.aborted) {
      const fault = await this.#once(over, () => (pause = FIRST_PAUSE_MS)).catch((one) => one);
      if (over.aborted) return;
      if (fault instanceof Refused && fault.access) {
        this.running = null;
        this.onState("refused", fault);
        return;
      }
      this.onState("reconnecting", fault);
      await new Promise((done) => setTimeout(done, pause * (0.5 + Math.random() / 2)));
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }

  async #once(over, onData) {
    const silence = new AbortController();
    const stop = () => silence.abort();
    over.addEventListener("abort", stop);
    let watch = setTimeout(stop, SILENCE_MS);
    try {
      const answer = await open("live", { signal: silence.signal, headers: { Accept: "text/event-stream" } });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "", part = await reader.read(); !part.done; part = await reader.read()) {
        clearTimeout(watch);
        watch = setTimeout(stop, SILENCE_MS);
        this.heard = Date.now();
        rest = this.#events(rest + part.value);
        onData();
      }
    } finally {
      clearTimeout(watch);
      over.removeEventListener("abort", stop);
    }
  }

  // Hands on every whole event in `text`, returns what is left.
  #events(text) {
    const blocks = text.split("\n\n");
    const rest = blocks.pop();
    for (const block of blocks) {
      let kind = "", data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) kind = line.slice(6).trim();
        else if (line.startsWith("data:")) data += line.slice(5);
      }
      if (kind && data) this.onEvent(kind, JSON.parse(data));
    }
    return rest;
  }
}
