// The one place that speaks to the API: keys, time limits, and its errors in its own words.
// Paths are relative to the page, so that the page works under any prefix.

const PATIENCE_MS = 30_000;
// An upload takes as long as it does, but not without getting on.
const STALLED_MS = 120_000;
// The key lives as long as the tab, and no script of another site can read it.
const KEY = "ferry.key";

/** What the API answered instead of what was asked: problem+json (RFC 9457). */
export class Problem extends Error {
  constructor(status, body, retryAfterS) {
    super(body.detail || body.title || `the API answered ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.title = body.title || "";
    this.faults = Array.isArray(body.errors) ? body.errors : [];
    this.retryAfterS = retryAfterS;
  }
}

/** The API did not answer. */
export class Unreachable extends Error {
  constructor(isSlow = false) {
    super(isSlow ? "the API did not answer in time" : "the API cannot be reached");
  }
}

export const events = new EventTarget();

const tell = (name) => events.dispatchEvent(new Event(name));

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set(text) {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
  },
};

export function headersWithKey(headers = {}) {
  return key.get() ? { ...headers, Authorization: `Bearer ${key.get()}` } : headers;
}

/** Make a problem of an answer that is not a good one. */
export async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // not of Ferry: a proxy in between, perhaps
  }
  const after = Number(response.headers.get("Retry-After"));
  if (response.status === 401) tell("refused");
  return new Problem(response.status, body ?? {}, Number.isFinite(after) && after > 0 ? after : null);
}

/** Ask, and return the Response when it is a good one; throws Problem, Unreachable, or the signal's reason. */
export async function ask(method, path, { json, text, headers = {}, signal, patienceMs = PATIENCE_MS } = {}) {
  const slow = AbortSignal.timeout(patienceMs);
  const options = {
    method,
    headers: headersWithKey(headers),
    signal: signal ? AbortSignal.any([signal, slow]) : slow,
    cache: "no-store",
  };
  const body = text ?? (json === undefined ? undefined : JSON.stringify(json));
  if (body !== undefined) {
    options.body = body;
    options.headers = { ...options.headers, "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    tell("lost");
    throw new Unreachable(slow.aborted);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Ask for JSON. */
export async function askJson(method, path, options) {
  const response = await ask(method, path, options);
  try {
    return await response.json();
  } catch {
    if (options?.signal?.aborted) throw options.signal.reason;
    tell("lost");
    throw new Unreachable();
  }
}

/** Store a file; ontold(share) as it goes. XMLHttpRequest, since fetch does not tell how much was sent. */
export function upload(file, ontold, signal) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append("purpose", "batch");
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    let alarm = 0;
    const goOn = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => {
        reject(new Unreachable(true));
        request.abort();
      }, STALLED_MS);
    };
    goOn();
    request.addEventListener("loadend", () => clearTimeout(alarm));
    request.open("POST", "v1/files");
    for (const [name, value] of Object.entries(headersWithKey())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      goOn();
      if (event.lengthComputable) ontold(event.loaded / event.total);
    });
    request.addEventListener("load", async () => {
      const response = new Response(request.responseText, {
        status: request.status, headers: { "Retry-After": request.getResponseHeader("Retry-After") ?? "" },
      });
      if (response.ok) response.json().then(resolve, () => reject(new Unreachable()));
      else reject(await problemOf(response));
    });
    request.addEventListener("error", () => {
      tell("lost");
      reject(new Unreachable());
    });
    request.addEventListener("abort", () => reject(signal.reason));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

/** Return a new id for a job; `crypto.randomUUID` is not there on plain http beyond this machine. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether the same request may succeed later. */
export const isPassing = (error) =>
  error instanceof Unreachable || (error instanceof Problem && [429, 503, 504].includes(error.status));
