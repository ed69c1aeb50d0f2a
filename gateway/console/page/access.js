// Calls to /admin/v1 beside this page, with the operator's key. The key lives in sessionStorage: this tab, until it ends.

const BASE = new URL("../admin/v1/", import.meta.url);
const SLOT = "gateway-admin-key";

export const key = () => sessionStorage.getItem(SLOT);
export const keep = (value) => sessionStorage.setItem(SLOT, value);
export const forget = () => sessionStorage.removeItem(SLOT);

export class Refused extends Error {
  constructor(status, told) {
    super(told?.message ?? `the gateway answered ${status}`);
    this.status = status;
    this.code = told?.code ?? null;
    this.faults = told?.faults ?? [];
  }
  get access() {
    return this.status === 401 || this.status === 403;
  }
}

// Answers come in any order, and only the newest question's is to be shown: each call gives a question, which says
// whether it is still the newest.
export function questions() {
  let newest = 0;
  return () => {
    const mine = ++newest;
    return () => mine === newest;
  };
}

// The answer, whose body is not read yet. Throws Refused, or TypeError where nobody answers.
export async function open(path, options = {}) {
  const headers = { ...options.headers };
  if (key() !== null) headers.Authorization = `Bearer ${key()}`;
  const settled = { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", redirect: "error" };
  const answer = await fetch(new URL(path, BASE), { ...settled, ...options, headers });
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    throw new Refused(answer.status, told?.error ?? null);
  }
  return answer;
}

export const get = async (path, options) => (await open(path, options)).json();

// `body`: an object, or the JSON text of one.
export async function post(path, body = null) {
  const text = body === null || typeof body === "string" ? body : JSON.stringify(body);
  const headers = text === null ? {} : { "Content-Type": "application/json" };
  return (await open(path, { method: "POST", body: text, headers })).json();
}

// What went wrong, in a sentence for people.
export function reason(fault) {
  if (fault instanceof Refused) return [fault.message, ...fault.faults].join(" · ");
  return fault instanceof TypeError ? "the gateway does not answer" : String(fault.message ?? fault);
}
