// Who asks: whether this API needs a key, and what the one given may do. Says what is missing, in words.

import { askJson, events, key, Problem } from "./api.js";
import { byId, el, say, show } from "./dom.js";
import { faultOf } from "./job.js";

const session = { state: "unknown", needed: false, name: "", scopes: new Set(), words: "" };
const DOES = { submit: "send or cancel anything", read: "read jobs, models or batches", admin: "see or replay dead letters" };
// The look that is under way, or was the last; each begins when the one before is over, so the last key counts.
let looking = Promise.resolve();

/** Return why the caller may not do what a scope allows; nothing where it may, or where that is not known yet. */
export function lack(scope) {
  if (session.state === "ok" && !session.scopes.has(scope) && !session.scopes.has("admin")) {
    const has = [...session.scopes].join(", ") || "none";
    return `The key “${session.name}” has the scope ${has}: it cannot ${DOES[scope]}. That needs the scope ${scope}.`;
  }
  if (session.state === "missing") return `This API asks for a key: without one this page cannot ${DOES[scope]}.`;
  if (session.state === "refused") return `${session.words[0].toUpperCase()}${session.words.slice(1)}: with it this page cannot ${DOES[scope]}.`;
  return "";
}

/** Ask the API who asks. */
export function refresh() {
  looking = looking.then(look, look);
  return looking;
}

async function look() {
  try {
    const answer = await askJson("GET", "v1/key");
    Object.assign(session, { state: "ok", needed: answer.needed, name: answer.name ?? "", scopes: new Set(answer.scopes) });
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) return;
    Object.assign(session, { state: key.get() ? "refused" : "missing", needed: true, scopes: new Set(), words: error.message });
  }
  paint();
  events.dispatchEvent(new Event("session"));
}

function paint() {
  const button = byId("key-button");
  const status = byId("key-status");
  show(button, session.needed);
  button.textContent = { ok: "Change key", missing: "Give a key", refused: "Give another key" }[session.state] ?? "Key";
  say(status, !session.needed ? "" : session.state === "ok"
    ? `Key “${session.name}”: ${[...session.scopes].join(", ") || "no scope"}`
    : session.state === "missing" ? "No API key given" : "API key refused");
  status.classList.toggle("error", session.state === "refused");
  for (const note of document.querySelectorAll("[data-needs]")) {
    const words = note.dataset.needs.split(" ").map(lack).filter(Boolean);
    say(note, words[0] ?? "");
    show(note, words.length > 0);
  }
}

/** Wire the dialog that takes the key. */
export function start() {
  const dialog = byId("key-dialog");
  const input = byId("key-input");
  const trouble = byId("key-error");
  const open = () => {
    trouble.replaceChildren();
    input.value = "";
    show(byId("key-forget"), key.get() !== "");
    if (!dialog.open) dialog.showModal();
    input.focus();
  };
  byId("key-button").addEventListener("click", open);
  byId("key-close").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", async () => {
    key.set("");
    await refresh();
    dialog.close();
  });
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return trouble.replaceChildren(el("p", { class: "error" }, "Paste a key: it begins with ferry_."));
    // A header takes no other characters, and no key has them.
    if (!/^[!-~]+$/.test(text)) return trouble.replaceChildren(el("p", { class: "error" }, "A key has no spaces and only plain letters, digits, _ and -."));
    key.set(text);
    try {
      await askJson("GET", "v1/key");
    } catch (error) {
      trouble.replaceChildren(...faultOf(error).filter(Boolean));
      await refresh();
      return undefined;
    }
    await refresh();
    dialog.close();
    return undefined;
  });
  events.addEventListener("refused", () => {
    if (session.state !== "ok") return;
    session.state = "unknown"; // looked at once, however many requests are refused now
    refresh();
  });
}
