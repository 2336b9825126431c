// One job: sent, followed to its end, and shown with its times, its batch and its scores.

import { askJson, isPassing, Problem, Unreachable } from "./api.js";
import { el, link, pause, svg } from "./dom.js";
import { counted, cut, milliseconds, number } from "./format.js";

// Looked at often at first, so that a short job is seen on its way; then seldom.
const LOOKS_MS = [40, 40, 60, 80, 100, 150, 200, 300, 500, 500, 500, 1000];
const ENDS = new Set(["succeeded", "failed", "canceled"]);
const MOST_BARS = 32;
const MOST_SHOWN = 4000;

export const isOver = (job) => ENDS.has(job.state);

/**
 * Follow a job to its end. onnews(job, trouble): after every look; trouble is an error that will pass, or null.
 * Ends with the job; throws Problem where the API will not tell, or the signal's reason.
 */
export async function follow(job, onnews, signal) {
  for (let looks = 0; !isOver(job); looks += 1) {
    await pause(LOOKS_MS[Math.min(looks, LOOKS_MS.length - 1)], signal);
    try {
      job = await askJson("GET", `v1/predictions/${encodeURIComponent(job.id)}`, { signal, patienceMs: 10_000 });
      onnews(job, null);
    } catch (error) {
      if (!isPassing(error)) throw error;
      onnews(job, error);
    }
  }
  return job;
}

const ms = (from, to) => (from && to ? new Date(to) - new Date(from) : null);

/** Show where a job is on its way. */
export function lifeOf(job, trouble) {
  const waitedMs = job.batch?.wait_ms ?? ms(job.created_at, job.started_at);
  const ranMs = job.metrics?.predict_time === undefined ? null : job.metrics.predict_time * 1000;
  const totalMs = job.metrics?.total_time === undefined ? null : job.metrics.total_time * 1000;
  const at = { queued: 0, running: 1, succeeded: 2, failed: 2, canceled: 2 }[job.state] ?? 0;
  const last = isOver(job) ? job.state : "succeeded";
  const step = (index, title, detail) =>
    el("li", { class: [index < at || isOver(job) ? "past" : "", index === at ? "here" : "", index === 2 ? last : ""].join(" ").trim(),
      "aria-current": index === at ? "step" : null }, el("strong", {}, title), el("span", {}, detail));
  const facts = [
    ["Job", job.id],
    ["Model", `${job.model.replace(/^local\//, "")}:${job.version}`],
    job.batch && ["Batch", link(job.batch.url, job.batch.id)],
    job.batch && ["Shared with", job.batch.jobs > 1
      ? `${counted(job.batch.jobs - 1, "other job")}, ${counted(job.batch.rows, "row")} in one run`
      : `nobody: ${counted(job.batch.rows, "row")} in the run`],
    job.attempts > 1 && ["Attempts", number(job.attempts)],
  ];
  return [
    el("ol", { class: "life", "aria-label": "The job's way" },
      step(0, "Queued", at > 0 && waitedMs !== null ? `waited ${milliseconds(waitedMs)}` : at > 0 ? "" : "waiting for a worker"),
      step(1, "Running", ranMs !== null ? `ran ${milliseconds(ranMs)}` : at === 1 ? "in a batch now" : ""),
      step(2, { succeeded: "Succeeded", failed: "Failed", canceled: "Canceled" }[last],
        isOver(job) ? `${milliseconds(totalMs)} in all` : "")),
    job.error && el("p", { class: "error" }, `${job.error_code ?? "error"}: ${job.error}`),
    trouble && el("p", { class: "error" }, `${trouble.message}; the job goes on, and is looked for again.`),
    el("dl", { class: "facts" }, facts.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
  ];
}

/** Show a job's outputs: scores as bars where they are one list of numbers, else as JSON. */
export function outputsOf(job, { labels, labels_of: labelsOf }) {
  if (job.output === null) return job.data_removed ? [el("p", { class: "note" }, "The model was removed; its output cannot be read any more.")] : [];
  return Object.entries(job.output).map(([name, value]) => {
    const isList = Array.isArray(value) && value.length > 0 && value.length <= MOST_BARS && value.every((each) => typeof each === "number");
    if (!isList) return el("figure", {}, el("figcaption", {}, name), el("pre", {}, cut(JSON.stringify(value, null, 1), MOST_SHOWN)));
    return barsOf(name, value, name === labelsOf && labels.length === value.length ? labels : value.map((_, at) => String(at)));
  });
}

function barsOf(name, values, labels) {
  const best = values.indexOf(Math.max(...values));
  const least = Math.min(0, ...values);
  const width = Math.max(...values.map((value) => Math.abs(value - least)), Number.EPSILON);
  const rows = values.map((value, at) =>
    el("tr", { class: at === best ? "best" : null },
      el("th", { scope: "row" }, cut(labels[at], 40)),
      el("td", { class: "bar", "aria-hidden": "true" }, svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" },
        svg("rect", { width: 100, height: 10, class: "rail" }),
        svg("rect", { width: (100 * Math.abs(value - least)) / width, height: 10 }))),
      el("td", { class: "figure" }, value % 1 ? value.toFixed(4) : String(value))));
  return el("table", { class: "scores" }, el("caption", {}, name), el("tbody", {}, rows));
}

/** Say an error of the API, with the fields at fault. */
export function faultOf(error) {
  if (error instanceof Unreachable) return [el("p", { class: "error" }, `${error.message}.`)];
  if (!(error instanceof Problem)) return [el("p", { class: "error" }, error.message)];
  const faults = error.faults.filter((fault) => fault.pointer);
  return [
    el("p", { class: "error" }, el("strong", {}, `${error.title || error.status}: `), error.message),
    faults.length > 0 && el("ul", { class: "error" }, faults.map((fault) => el("li", {}, el("code", {}, fault.pointer), ` ${fault.detail}`))),
    error.retryAfterS && el("p", { class: "note" }, `Try again in ${counted(error.retryAfterS, "second")}.`),
  ];
}
