// The fleet's numbers as they change: server-sent events read with fetch, since EventSource sends no API key.
// One stream a page, and none while it is hidden: a browser opens six connections to a host for all its tabs together.

import { events, headersWithKey, problemOf, Unreachable } from "./api.js";

// The API sends every three seconds.
const SILENT_MS = 10_000;
const PAUSES_MS = [500, 1_000, 2_000, 4_000];

let stop = null;
let misses = 0;
let timer = 0;

function emit(name, detail) {
  events.dispatchEvent(new CustomEvent(name, { detail }));
}

/** Read one stream until it ends; each event goes on as `stats` or `stats-problem`. */
async function read(signal) {
  const silence = new AbortController();
  let alarm = setTimeout(() => silence.abort(), SILENT_MS);
  try {
    const response = await fetch("v1/stats/events", {
      headers: headersWithKey({ Accept: "text/event-stream" }),
      signal: AbortSignal.any([signal, silence.signal]),
      cache: "no-store",
    });
    if (!response.ok) throw await problemOf(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(alarm);
      alarm = setTimeout(() => silence.abort(), SILENT_MS);
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      parts.forEach(pass);
    }
  } finally {
    clearTimeout(alarm);
  }
}

function pass(part) {
  const lines = part.split("\n");
  const of = (field) => lines.find((line) => line.startsWith(`${field}: `))?.slice(field.length + 2);
  const [name, data] = [of("event"), of("data")];
  if (!data) return;
  misses = 0;
  emit("alive");
  emit(name === "stats" ? "stats" : "stats-problem", JSON.parse(data));
}

async function follow(signal) {
  for (;;) {
    let status = 0;
    try {
      await read(signal);
    } catch (error) {
      if (signal.aborted) return;
      status = error.status ?? 0;
      if (status) emit("stats-refused", error);
    }
    if (signal.aborted) return;
    // A stream that ended by itself is opened again at once; whoever may not read need not ask often.
    const waitMs = [401, 403].includes(status) ? 30_000 : PAUSES_MS[Math.min(misses, PAUSES_MS.length - 1)];
    misses += 1;
    if (!status && misses > 1) emit("away", { retryMs: waitMs });
    await new Promise((resolve) => {
      timer = setTimeout(resolve, waitMs);
      signal.addEventListener("abort", resolve, { once: true });
    });
    if (signal.aborted) return;
  }
}

/** Begin anew: a key was given, or the connection is tried at once. */
export function restart() {
  stop?.abort(new Unreachable());
  clearTimeout(timer);
  misses = 0;
  if (document.visibilityState === "hidden") return;
  stop = new AbortController();
  follow(stop.signal);
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") stop?.abort(new Unreachable());
  else restart();
});
