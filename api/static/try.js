// Try a model: one job, drawn or filled in, and its way through the queue.

import { askJson, events } from "./api.js";
import { byId, say, show } from "./dom.js";
import { buildForm } from "./form.js";
import { frameDigit, rowOf } from "./frame.js";
import { faultOf, follow, isOver, lifeOf, outputsOf } from "./job.js";
import * as models from "./models.js";
import { exampleShape } from "./shapes.js";
import { asCurl, asPython, copy } from "./snippets.js";
import { paintField, Sheet } from "./strokes.js";

const SAMPLES = 20;
// What an empty sheet shows the model.
const EMPTY = new Float32Array(28 * 28);

let sheet = null;
let shown = "";
let readForm = null;
let field = null;
let samples = { reference: "", rows: [], next: 0 };
let following = null;
let language = "curl";
let body = "";

const select = () => byId("try-model");
const trouble = (error) => byId("try-error").replaceChildren(...(error ? faultOf(error).filter(Boolean) : []));

/** Lay out the input that the chosen version takes; again only when it is another. */
async function layOut() {
  models.offer(select());
  show(byId("try-none"), models.known() && !models.list().length);
  const reference = select().value;
  const [version, model] = reference ? models.find(reference) : [];
  if (!version) return;
  const identity = `${model.name}:${version.id}:${version.sha256}`;
  if (identity === shown) return;
  shown = identity;
  byId("try-about").textContent = model.description || "";
  const isDigit = models.isDigit(version);
  show(byId("try-digit"), isDigit);
  show(byId("try-form"), !isDigit);
  trouble(null);
  readForm = null;
  if (isDigit) {
    sheet.clear();
    return;
  }
  const place = byId("try-fields");
  place.replaceChildren();
  let example;
  try {
    example = (await models.examples(reference, 1)).data[0]?.input;
  } catch (error) {
    trouble(error);
  }
  if (identity !== shown) return; // another was chosen meanwhile
  place.replaceChildren();
  readForm = buildForm(place, version, example);
}

function frame() {
  field = frameDigit(sheet.strokes);
  paintField(byId("try-frame"), field ?? EMPTY, 28);
}

/** Take one of the real digits that lie beside the model instead of a drawn one. */
async function takeSample() {
  const reference = select().value;
  trouble(null);
  try {
    if (samples.reference !== shown) {
      samples = { reference: shown, rows: (await models.examples(reference, SAMPLES)).data, next: 0 };
    }
    const row = samples.rows[samples.next % samples.rows.length];
    samples.next += 1;
    sheet.clear();
    field = Float32Array.from(row.input[models.find(reference)[0].inputs[0].name].flat(Infinity));
    paintField(byId("try-frame"), field, 28);
    say(byId("try-sample-note"), row.truth === null ? "A made-up sample is the input now." : `A sample ${row.truth} is the input now.`);
  } catch (error) {
    trouble(error);
  }
}

function readInput(version) {
  if (readForm) return readForm();
  if (!field) throw new Error("Draw a digit first, or take a sample.");
  const [spec] = version.inputs;
  return { [spec.name]: rowOf(field, exampleShape(version, spec)) };
}

async function send() {
  trouble(null);
  const reference = select().value;
  const [version] = reference ? models.find(reference) : [];
  if (!version) return trouble(new Error("There is no model to ask."));
  following?.abort();
  const { signal } = (following = new AbortController());
  try {
    body = JSON.stringify({ version: reference, input: readInput(version) });
    paintSnippet();
    say(byId("try-answer"), "Sending …");
    const job = await askJson("POST", "v1/predictions", { text: body, signal });
    // A job that is accepted is `starting` to Replicate's clients; `state` tells where it is.
    await watch(job, version, signal);
  } catch (error) {
    if (signal.aborted) return undefined;
    say(byId("try-answer"), "");
    show(byId("try-cancel"), false);
    trouble(error);
  }
  return undefined;
}

async function watch(job, version, signal) {
  const news = (now, passing) => {
    byId("try-life").replaceChildren(...lifeOf(now, passing).filter(Boolean));
    byId("try-scores").replaceChildren(...outputsOf(now, version));
    show(byId("try-cancel"), !isOver(now));
    byId("try-cancel").dataset.id = now.id;
    say(byId("try-answer"), answerOf(now, version));
  };
  show(byId("try-result"), true);
  show(byId("try-hint"), false);
  news(job, null);
  await follow(job, news, signal);
}

function answerOf(job, version) {
  if (job.state === "queued") return version.live_workers ? "Queued …" : "Queued: no live worker serves this model, so it waits for one.";
  if (job.state === "running") return "Running …";
  if (job.state === "succeeded") return job.labels === null ? "Done." : `Answer: ${[job.labels].flat(Infinity).join(", ")}`;
  return job.state === "failed" ? "The job failed." : "The job was canceled.";
}

async function cancel() {
  try {
    await askJson("POST", `v1/predictions/${encodeURIComponent(byId("try-cancel").dataset.id)}/cancel`);
  } catch (error) {
    trouble(error);
  }
}

function paintSnippet() {
  show(byId("try-code"), body !== "");
  if (body) byId("try-snippet").textContent = language === "curl" ? asCurl(body) : asPython(body);
}

export function start() {
  sheet = new Sheet(byId("try-sheet"), () => {
    say(byId("try-sample-note"), "");
    frame();
  });
  frame();
  select().addEventListener("change", layOut);
  events.addEventListener("models", layOut);
  byId("try-clear").addEventListener("click", () => sheet.clear());
  byId("try-undo").addEventListener("click", () => sheet.undo());
  byId("try-sample").addEventListener("click", takeSample);
  byId("try-cancel").addEventListener("click", cancel);
  byId("try").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  for (const radio of document.querySelectorAll("input[name=language]")) {
    radio.addEventListener("change", () => {
      language = radio.value;
      paintSnippet();
    });
  }
  byId("try-copy").addEventListener("click", async () => {
    const note = byId("try-copied");
    note.textContent = await copy(byId("try-snippet").textContent, byId("try-snippet"));
    setTimeout(() => say(note, ""), 3000);
  });
}

