// Send many rows at once, each as a job of its own, and watch batches form.

import { ask, askJson, events, isPassing, newId, Problem } from "./api.js";
import { drawBars, drawDots } from "./chart.js";
import { byId, el, link, pause, say, show } from "./dom.js";
import { counted, milliseconds, number, quantile } from "./format.js";
import { faultOf, isOver } from "./job.js";
import * as models from "./models.js";

// Jobs that one request sends or reads; what the API takes at once.
const AT_ONCE = 100;
const LANES = 2;
const READS_AT_ONCE = 2;
const LOOK_MS = 120;
const PAINT_MS = 200;
const MOST = 2000;
const MOST_SAMPLES = 100;
// One job is sent again so often while the API is away or full.
const TRIES = 12;
const LAST_BATCHES = 8;
// Answers that every other job would get too.
const HOPELESS = new Set([400, 401, 403, 404, 413, 415, 422]);

let run = null;

class Run {
  constructor(reference, samples, count) {
    const inputs = samples.data.map((sample) => JSON.stringify(sample.input));
    const truths = samples.data.map((sample) => sample.truth);
    this.jobs = Array.from({ length: count }, (_, at) => ({
      id: newId(), input: inputs[at % inputs.length], truth: truths[at % truths.length], state: "unsent", seen: null,
    }));
    // The version that the rows are of, even when an alias is moved meanwhile.
    this.pinned = `${samples.model}:${samples.version}`;
    this.reference = reference;
    this.stopping = new AbortController();
    this.trouble = null;
    this.began = performance.now();
    this.ended = null;
    this.note = "";
    this.isDirty = true;
  }

  count(...states) {
    return this.jobs.filter((job) => states.includes(job.state)).length;
  }

  async go() {
    let next = 0;
    const lane = async () => {
      while (next < this.jobs.length) await this.send(this.jobs.slice(next, (next += AT_ONCE)));
    };
    const sending = Promise.all(Array.from({ length: LANES }, lane));
    let isSent = false;
    const reading = this.readUntil(() => isSent);
    try {
      await sending;
    } catch (error) {
      this.trouble ??= this.stopping.signal.aborted ? null : error;
      this.stopping.abort();
    }
    isSent = true;
    await reading;
    this.ended = performance.now();
  }

  /** Send jobs under ids of our own: sent again after a lost answer they are the same jobs. */
  async send(jobs) {
    const { signal } = this.stopping;
    for (let tries = 1; jobs.length && !signal.aborted; tries += 1) {
      let waitS = Math.min(4, tries / 2);
      try {
        const ids = JSON.stringify(jobs.map((job) => job.id));
        const text = `{"version":${JSON.stringify(this.pinned)},"ids":${ids},"inputs":[${jobs.map((job) => job.input).join(",")}]}`;
        const { data } = await askJson("POST", "v1/predictions/many", { text, signal });
        const refused = jobs.filter((job, at) => typeof data[at].error === "object" && data[at].error !== null);
        for (const job of jobs) if (!refused.includes(job)) job.state = "queued";
        const errors = data.map((each) => each.error).filter((error) => typeof error === "object" && error !== null);
        this.note = errors.length ? `${errors[0].detail}; trying again` : "";
        waitS = errors[0]?.retry_after_s ?? waitS;
        if (errors.some((error) => !error.retryable) || tries >= TRIES) this.giveUp(refused, new Error(errors[0]?.detail));
        jobs = refused.filter((job) => job.state === "unsent");
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && HOPELESS.has(error.status)) throw error;
        this.note = `${error.message}; trying again`;
        waitS = error.retryAfterS ?? waitS;
        if (!isPassing(error) || tries >= TRIES) return this.giveUp(jobs, error);
      }
      this.isDirty = true;
      if (jobs.length) await pause(1000 * waitS, signal).catch(() => {});
    }
    return undefined;
  }

  giveUp(jobs, error) {
    for (const job of jobs) job.state = "refused";
    if (jobs.length) this.trouble ??= error;
    this.isDirty = true;
  }

  async readUntil(isSent) {
    for (;;) {
      const wasSent = isSent();
      const open = this.jobs.filter((job) => job.state === "queued" || job.state === "running");
      if (wasSent && !open.length) return;
      const groups = Array.from({ length: READS_AT_ONCE }, (_, at) => open.slice(at * AT_ONCE, (at + 1) * AT_ONCE));
      try {
        await Promise.all(groups.filter((group) => group.length).map((group) => this.read(group)));
      } catch (error) {
        if (!isPassing(error)) {
          this.trouble ??= error;
          this.stopping.abort();
          return;
        }
        this.note = `${error.message}; the jobs go on, and are looked for again`;
        this.isDirty = true;
        await pause(1000);
      }
      await pause(LOOK_MS);
    }
  }

  async read(jobs) {
    const query = jobs.map((job) => `id=${job.id}`).join("&");
    const { data, missing } = await askJson("GET", `v1/predictions?${query}`);
    const seen = new Map(data.map((each) => [each.id, each]));
    for (const job of jobs) {
      const now = seen.get(job.id);
      if (!now) {
        if (missing.includes(job.id)) job.state = "forgotten";
        continue;
      }
      job.state = now.state;
      if (isOver(now)) job.seen = summaryOf(now);
    }
    this.note = "";
    this.isDirty = true;
  }

  /** Send no more, and cancel what is not done. */
  async stop() {
    this.stopping.abort();
    for (const job of this.jobs.filter((each) => each.state === "queued" || each.state === "running")) {
      try {
        await ask("POST", `v1/predictions/${job.id}/cancel`);
      } catch (error) {
        if (!isPassing(error)) return;
      }
    }
  }
}

const summaryOf = (job) => ({
  labels: job.labels, batch: job.batch, startedAt: job.started_at, totalMs: (job.metrics.total_time ?? 0) * 1000, error: job.error,
});

function batchesOf(jobs) {
  const batches = new Map();
  for (const { seen } of jobs) if (seen?.batch) batches.set(seen.batch.id, { ...seen.batch, startedAt: seen.startedAt });
  return [...batches.values()].sort((one, other) => (one.startedAt < other.startedAt ? -1 : 1));
}

function paint(now) {
  now.isDirty = false;
  const done = now.jobs.filter((job) => job.seen);
  const counts = [
    ["to send", now.count("unsent")], ["waiting", now.count("queued")], ["running", now.count("running")], ["succeeded", now.count("succeeded")],
    ["failed", now.count("failed")], ["canceled", now.count("canceled")], ["not accepted", now.count("refused")], ["forgotten", now.count("forgotten")],
  ];
  byId("many-counts").replaceChildren(...counts.filter(([name, count], at) => at < 4 || count).map(([name, count]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, number(count)))));
  const batches = batchesOf(now.jobs);
  drawBars(byId("many-batches"), batches.map((batch) => batch.rows), { x: "batch, in order", y: "rows" });
  const times = now.jobs.flatMap(({ seen }, at) => (seen ? [{ x: at + 1, y: seen.totalMs }] : []));
  drawDots(byId("many-times"), times, now.jobs.length, { x: "job, in order", y: "ms to result" });
  const progress = byId("many-progress");
  progress.max = now.jobs.length;
  progress.value = done.length + now.count("refused", "forgotten");
  const isServed = models.find(now.reference)[0]?.live_workers !== 0;
  const failed = done.find((job) => job.state === "failed");
  say(byId("many-note"), now.ended !== null ? (failed ? `The first that failed: ${failed.seen.error}` : "") : now.note || (isServed ? "" : "No live worker serves this model: the jobs wait for one."));
  byId("many-error").replaceChildren(...(now.trouble ? faultOf(now.trouble).filter(Boolean) : []));
  byId("many-last").replaceChildren(...batches.slice(-LAST_BATCHES).reverse().map((batch) =>
    el("tr", {}, el("td", {}, link(batch.url, batch.id)), el("td", {}, number(batch.rows)), el("td", {}, number(batch.jobs)))));
  if (now.ended !== null) say(byId("many-summary"), summed(now, done, batches));
}

function summed(now, done, batches) {
  const succeeded = done.filter((job) => job.state === "succeeded");
  if (!succeeded.length) return `${counted(now.jobs.length, "job")}: none succeeded.`;
  const times = succeeded.map((job) => job.seen.totalMs).sort((one, other) => one - other);
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  const known = succeeded.filter((job) => job.truth !== null && job.seen.labels !== null);
  const right = known.filter((job) => job.seen.labels === job.truth).length;
  const seconds = (now.ended - now.began) / 1000;
  return `${number(succeeded.length)} of ${number(now.jobs.length)} succeeded in ${milliseconds(seconds * 1000)}`
    + ` (${number(Math.round(succeeded.length / seconds))} jobs/s from this page), in ${counted(batches.length, "batch", "batches")}`
    + ` of ${number(rows / batches.length)} rows on average. Half had their result within ${milliseconds(quantile(times, 0.5))},`
    + ` 99 of 100 within ${milliseconds(quantile(times, 0.99))}.`
    + (known.length ? ` ${number((100 * right) / known.length)} % right.` : "");
}

async function send() {
  const field = byId("many-count");
  const count = Number(field.value);
  const trouble = byId("many-error");
  trouble.replaceChildren();
  if (!Number.isInteger(count) || count < 1 || count > MOST) {
    trouble.replaceChildren(el("p", { class: "error" }, `Rows: expected a whole number from 1 to ${number(MOST)}.`));
    return field.focus();
  }
  const reference = byId("many-model").value;
  if (!models.find(reference).length) return trouble.replaceChildren(el("p", { class: "error" }, "There is no model to ask."));
  byId("many-send").disabled = true;
  show(byId("many-result"), true);
  show(byId("many-stop"), true);
  say(byId("many-summary"), `Sending ${counted(count, "job")} …`);
  try {
    const samples = await models.examples(reference, Math.min(count, MOST_SAMPLES));
    run = new Run(reference, samples, count);
    show(byId("many-made-up"), samples.made_up);
    const painting = setInterval(() => run.isDirty && paint(run), PAINT_MS);
    try {
      await run.go();
    } finally {
      clearInterval(painting);
      run.ended ??= performance.now();
      paint(run);
    }
  } catch (error) {
    say(byId("many-summary"), "");
    trouble.replaceChildren(...faultOf(error).filter(Boolean));
  } finally {
    byId("many-send").disabled = false;
    show(byId("many-stop"), false);
  }
  return undefined;
}

export function start() {
  events.addEventListener("models", () => models.offer(byId("many-model")));
  byId("many").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  byId("many-stop").addEventListener("click", () => run?.stop());
}
