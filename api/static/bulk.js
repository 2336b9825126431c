// Bulk: a file of rows in, a file of answers out; the batches are the API's, so a reload finds them again.

import { ask, askJson, events, isPassing, key, newId, upload } from "./api.js";
import { byId, el, pause, say, show } from "./dom.js";
import { dropsInto } from "./form.js";
import { bytes, counted, cut, number, seconds } from "./format.js";
import { faultOf } from "./job.js";
import * as models from "./models.js";
import { lack } from "./session.js";

const OVER = new Set(["completed", "failed", "expired", "cancelled"]);
const FORMATS = ["jsonl", "csv", "npy", "npz", "parquet", "arrow"];
const LISTED = 5;
const LOOK_MS = 700;
const IDLE_MS = 1500;
const MOST_FAULTS = 100;
// The first faults are in the first bytes; the whole file may be as large as the input.
const FAULT_BYTES = 256 * 1024;
const TRIES = 8;

// What is shown, by id: {record, card}; the newest first.
let shown = [];
// The key that they are shown for.
let shownFor = key.get();
// Batches begun on this page: their errors are shown open.
const mine = new Set();
let file = null;
let sending = null;

const trouble = (error) => byId("bulk-error").replaceChildren(...(error ? faultOf(error).filter(Boolean) : []));

function take(files) {
  file = files?.[0] ?? null;
  trouble(null);
  say(byId("bulk-chosen"), file ? `${file.name}, ${bytes(file.size)}` : "No file chosen.");
}

/** Do something that may be done twice, again and again while the API is away for a moment. */
async function insist(doing, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await doing();
    } catch (error) {
      if (!isPassing(error) || tries >= TRIES) throw error;
      await pause(1000 * (error.retryAfterS ?? Math.min(tries, 4)), signal);
    }
  }
}

async function begin() {
  trouble(null);
  if (!file) return trouble(new Error("Choose a file first."));
  const reference = byId("bulk-model").value;
  const [version, model] = reference ? models.find(reference) : [];
  if (!version) return trouble(new Error("There is no model to ask."));
  const format = byId("bulk-format").value;
  const progress = byId("bulk-upload");
  sending = new AbortController();
  const { signal } = sending;
  byId("bulk-send").disabled = true;
  show(byId("bulk-uploading"), true);
  progress.value = 0;
  try {
    const stored = await upload(file, (share) => {
      progress.value = share;
      say(byId("bulk-uploading-note"), share < 1 ? `Sending the file: ${Math.round(100 * share)} %` : "The API stores the file …");
    }, signal);
    const body = {
      input_file_id: stored.id,
      endpoint: "/v1/predictions",
      model: `${model.name}:${version.id}`,
      completion_window: "24h",
      metadata: { filename: cut(file.name, 200), ...(format ? { output_format: format } : {}) },
    };
    const headers = { "Idempotency-Key": newId() };
    const record = await insist(() => askJson("POST", "v1/batches", { json: body, headers, signal }), signal);
    mine.add(record.id);
    add(record);
    take(null);
    byId("bulk-file").value = "";
  } catch (error) {
    if (!signal.aborted) trouble(error);
  } finally {
    byId("bulk-send").disabled = false;
    show(byId("bulk-uploading"), false);
  }
  return undefined;
}

function add(record) {
  if (!shown.some((each) => each.record.id === record.id)) {
    const card = el("article", { class: "batch", "aria-label": `Batch ${nameOf(record)}` });
    shown.unshift({ record, card, isFaultsShown: false });
    shown.sort((one, other) => other.record.created_at - one.record.created_at);
    byId("bulk-list").replaceChildren(...shown.map((each) => each.card));
    show(byId("bulk-empty"), false);
  }
  update(record);
}

function update(record) {
  const entry = shown.find((each) => each.record.id === record.id);
  entry.record = record;
  paint(entry);
}

const nameOf = (record) => record.metadata?.filename ?? record.input_file_id;

/** Parts of a card are made once and then changed: what is focused or read aloud stays where it is. */
function build(entry) {
  const { record, card } = entry;
  const parts = {
    status: el("span", { class: "chip", role: "status" }),
    bar: el("progress", { "aria-label": `Progress of ${nameOf(record)}` }),
    words: el("p", { class: "note" }),
    notes: el("div", {}),
    trouble: el("div", { role: "alert" }),
    cancel: el("button", { type: "button", onclick: () => cancel(entry) }, "Cancel"),
    output: el("a", { class: "button", download: true, onclick: (event) => fetchFile(event, entry, "output") }, "Download output"),
    errors: el("a", { class: "button", download: true, onclick: (event) => fetchFile(event, entry, "error") }, "Download errors"),
    faults: el("div", {}),
  };
  entry.parts = parts;
  card.append(
    el("h3", {}, nameOf(record), " ", parts.status),
    el("p", { class: "note" }, `${record.model}:${record.model_version} · ${record.id}`),
    parts.bar, parts.words, parts.notes, parts.trouble,
    el("p", { class: "buttons" }, parts.cancel, parts.output, parts.errors),
    parts.faults,
  );
}

function paint(entry) {
  if (!entry.parts) build(entry);
  const { record, parts } = entry;
  const isOver = OVER.has(record.status);
  const { total, completed, failed } = record.request_counts;
  say(parts.status, record.status.replace("_", " "));
  parts.status.className = `chip ${record.status}`;
  if (total || isOver) {
    parts.bar.max = Math.max(1, total);
    parts.bar.value = isOver ? Math.max(1, total) : record.progress.rows_done;
  }
  show(parts.bar, !isOver);
  say(parts.words, wordsOf(record, { total, completed, failed, isOver }));
  parts.notes.replaceChildren(...(record.notes ?? []).map((note) => el("p", { class: "note" }, note)));
  show(parts.cancel, ["validating", "in_progress", "finalizing"].includes(record.status));
  for (const [part, id] of [[parts.output, record.output_file_id], [parts.errors, record.error_file_id]]) {
    show(part, id !== null);
    if (id !== null) part.href = `v1/files/${encodeURIComponent(id)}/content`;
  }
  const whole = record.errors?.data ?? [];
  if (whole.length && !entry.isFaultsShown) {
    entry.isFaultsShown = true;
    paintFaults(entry, whole.map((each) => [each.line, each.code, each.message]));
  } else if (isOver && record.error_file_id && !entry.isFaultsShown) {
    entry.isFaultsShown = true;
    readFaults(entry);
  }
}

function wordsOf(record, { total, completed, failed, isOver }) {
  if (record.status === "validating") return "A worker checks the file …";
  const parts = isOver
    ? [`${number(completed)} of ${counted(total, "row")} done`, failed && `${counted(failed, "row")} with an error`]
    : [`${number(record.progress.rows_done)} of ${counted(total, "row")}`, failed && `${number(failed)} with an error`];
  if (!isOver) {
    if (record.progress.rows_per_s) parts.push(`${number(record.progress.rows_per_s)} rows/s`);
    if (record.progress.eta_s !== null) parts.push(`${seconds(record.progress.eta_s)} left`);
    if (record.status === "finalizing") parts.push("the output is put together");
    if (record.status === "cancelling") parts.push("what runs is finished first");
  } else if (record.timings.ended && record.timings.created) {
    parts.push(`${seconds(record.timings.ended - record.timings.created)} in all`);
  }
  return parts.filter(Boolean).join(" · ");
}

async function readFaults(entry) {
  try {
    const path = `v1/files/${encodeURIComponent(entry.record.error_file_id)}/content`;
    const response = await ask("GET", path, { headers: { Range: `bytes=0-${FAULT_BYTES - 1}` } });
    const lines = (await response.text()).split("\n");
    // The last line is cut where the range ends, or empty.
    const faults = lines.slice(0, -1).slice(0, MOST_FAULTS).map((line) => {
      const { custom_id: id, error, response } = JSON.parse(line);
      // What a call would have refused stands as its answer, what never ran as an error.
      const fault = error ?? response?.body?.error;
      return [id, fault?.code, fault?.message];
    });
    paintFaults(entry, faults);
  } catch (error) {
    if (isPassing(error)) entry.isFaultsShown = false; // looked for again with the next list
    entry.parts.faults.replaceChildren(...faultOf(error).filter(Boolean));
  }
}

function paintFaults(entry, faults) {
  const { failed } = entry.record.request_counts;
  const rows = faults.map(([row, code, message]) =>
    el("tr", {}, el("td", {}, row === null ? "–" : String(row)), el("td", {}, code ?? ""), el("td", {}, cut(message ?? "", 400))));
  const more = failed > faults.length ? ` (the first ${number(faults.length)} of ${number(failed)})` : "";
  entry.parts.faults.replaceChildren(
    el("details", { open: mine.has(entry.record.id) && faults.length <= 5 }, el("summary", {}, `${counted(Math.max(faults.length, failed), "error")}${more}`),
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Errors of ${nameOf(entry.record)}` },
        el("table", {}, el("thead", {}, el("tr", {}, ["Row", "Code", "Error"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows)))),
  );
}

async function cancel(entry) {
  entry.parts.cancel.disabled = true;
  entry.parts.trouble.replaceChildren();
  try {
    update(await insist(() => askJson("POST", `v1/batches/${encodeURIComponent(entry.record.id)}/cancel`)));
  } catch (error) {
    entry.parts.trouble.replaceChildren(...faultOf(error).filter(Boolean));
  } finally {
    entry.parts.cancel.disabled = false;
  }
}

/** A link cannot carry a key, so with one the file is fetched here first; without, the browser does it all. */
async function fetchFile(event, entry, kind) {
  if (!key.get()) return;
  event.preventDefault();
  const link = event.currentTarget;
  if (link.dataset.isBusy) return;
  link.dataset.isBusy = "yes";
  const words = link.textContent;
  link.textContent = "Fetching …";
  entry.parts.trouble.replaceChildren();
  try {
    const record = await askJson("GET", `v1/files/${encodeURIComponent(entry.record[`${kind}_file_id`])}`);
    const response = await ask("GET", new URL(link.href).pathname, { patienceMs: 3_600_000 });
    const address = URL.createObjectURL(await response.blob());
    el("a", { href: address, download: record.filename }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    entry.parts.trouble.replaceChildren(...faultOf(error).filter(Boolean));
  } finally {
    link.textContent = words;
    delete link.dataset.isBusy;
  }
}

/** Look at what is under way, for as long as the page lives. */
async function lookForever() {
  for (;;) {
    const open = shown.filter((each) => !OVER.has(each.record.status));
    await pause(open.length ? LOOK_MS : IDLE_MS);
    for (const entry of document.visibilityState === "visible" ? open : []) {
      try {
        update(await askJson("GET", `v1/batches/${encodeURIComponent(entry.record.id)}`, { patienceMs: 10_000 }));
        entry.parts.trouble.replaceChildren();
      } catch (error) {
        entry.parts.trouble.replaceChildren(...faultOf(error).filter(Boolean));
        if (!isPassing(error)) shown = shown.filter((each) => each !== entry); // it is gone, or not ours any more
        await pause(1000);
      }
    }
  }
}

/** Find the batches that the API knows: after a reload, a new key, a lost connection. */
async function findAgain() {
  if (key.get() !== shownFor) {
    shownFor = key.get();
    shown = [];
    byId("bulk-list").replaceChildren();
  }
  if (lack("read")) return;
  try {
    await list("");
    show(byId("bulk-empty"), !shown.length);
  } catch {
    // a lost connection is said at the top of the page, and this is tried again when it is back
  }
}

async function list(after) {
  const { data, has_more: hasMore } = await askJson("GET", `v1/batches?limit=${LISTED}${after}`);
  data.reverse().forEach(add);
  show(byId("bulk-older"), hasMore);
}

async function listOlder() {
  trouble(null);
  try {
    await list(`&after=${encodeURIComponent(shown.at(-1).record.id)}`);
  } catch (error) {
    trouble(error);
  }
}

export function start() {
  byId("bulk-format").append(...FORMATS.map((name) => el("option", { value: name }, name)));
  events.addEventListener("models", () => models.offer(byId("bulk-model")));
  events.addEventListener("session", findAgain);
  byId("bulk-file").addEventListener("change", (event) => take(event.target.files));
  dropsInto(byId("bulk-drop"), take);
  byId("bulk").addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  byId("bulk-older").addEventListener("click", listOlder);
  byId("bulk-abort").addEventListener("click", () => sending?.abort(new Error("stopped")));
  lookForever();
}
