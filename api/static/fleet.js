// The fleet: what waits, who serves it, how fast it goes; the measured curves; dead letters.

import { askJson, events } from "./api.js";
import { drawProfile, drawSpark } from "./chart.js";
import { byId, el, link, say, show, svg } from "./dom.js";
import { counted, number, seconds } from "./format.js";
import { faultOf } from "./job.js";
import * as models from "./models.js";
import { lack } from "./session.js";

const REMEMBERED = 60;
const LETTERS = 20;

let stats = null;
let speeds = [];
// Rows of the table and curves, by "name:version": changed in place, so that what is open stays open.
const rows = new Map();
let letters = { seen: -1, isLooking: false };

const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
const loadOf = (name, version) => stats?.models.find((each) => each.name === name && each.version === version);

/** Tell `paint` when a part comes into view; returns a function that says whether it is. */
function watched(element, paint) {
  let isSeen = false;
  new IntersectionObserver((entries) => {
    isSeen = entries.at(-1).isIntersecting;
    if (isSeen) paint();
  }).observe(element);
  return () => isSeen;
}

function paintTiles(isWhole) {
  const all = stats.models;
  const perBatch = all.filter((each) => each.rows_per_batch !== null);
  const batches = sum(perBatch.map((each) => each.batches_per_s));
  const tiles = {
    waiting: number(sum(all.map((each) => each.waiting_jobs))),
    oldest: seconds(Math.max(0, ...all.map((each) => each.oldest_s))),
    fill: batches ? number(sum(perBatch.map((each) => each.rows_per_batch * each.batches_per_s)) / batches) : "–",
    jobs: number(sum(all.map((each) => each.jobs_per_s))),
    rows: number(sum(all.map((each) => each.rows_per_s))),
    workers: number(Math.max(0, ...all.map((each) => each.workers))),
    dead: number(stats.dead_letters),
  };
  const flower = byId("fleet-flower");
  if (flower.dataset.of !== (stats.flower_url ?? "")) {
    flower.dataset.of = stats.flower_url ?? "";
    flower.replaceChildren(link(stats.flower_url, "Flower"), ", the workers' own page");
  }
  for (const place of document.querySelectorAll(isWhole ? "[data-stat]" : ".flow [data-stat]")) say(place, tiles[place.dataset.stat]);
  if (!isWhole) return;
  drawSpark(byId("fleet-spark"), speeds, REMEMBERED);
}

function rowOf(model, version) {
  const name = `${model.name}:${version.id}`;
  if (rows.has(name)) return rows.get(name);
  const cells = ["workers", "waiting", "oldest", "jobs", "fill", "limit"].map((each) => [each, el("td", {})]);
  const title = el("th", { scope: "row" });
  const row = { title, cells: Object.fromEntries(cells), element: el("tr", {}, title, cells.map(([, cell]) => cell)), curve: null };
  rows.set(name, row);
  return row;
}

function paintModels() {
  const elements = [];
  const curves = [];
  for (const model of models.list()) {
    for (const version of model.versions) {
      const row = rowOf(model, version);
      const load = loadOf(model.name, version.id);
      const aliases = Object.entries(model.aliases).filter(([, id]) => id === version.id).map(([alias]) => alias);
      const flags = ["paused", "draining", "unloaded", "broken"].filter((flag) => version[flag]);
      const words = [`${model.name}:${version.id}`, ...aliases.map((alias) => `(${alias})`), ...flags].join(" ");
      say(row.title, words);
      const workers = load?.workers ?? version.live_workers;
      say(row.cells.workers, workers ? number(workers) : "none");
      row.cells.workers.classList.toggle("bad", !workers && !version.unloaded);
      say(row.cells.waiting, load ? `${number(load.waiting_jobs)} (${counted(load.waiting_rows, "row")})` : number(version.waiting_rows));
      say(row.cells.oldest, load ? seconds(load.oldest_s) : "–");
      say(row.cells.jobs, load ? `${number(load.jobs_per_s)} / ${number(load.rows_per_s)}` : "–");
      say(row.cells.fill, number(load?.rows_per_batch));
      say(row.cells.limit, `${number(version.max_rows)} rows, ${number(version.max_wait_ms)} ms`);
      elements.push(row.element);
      if (version.profile) curves.push(curveOf(row, model, version));
    }
  }
  const table = byId("fleet-models");
  if (table.children.length !== elements.length || elements.some((each, at) => table.children[at] !== each)) table.replaceChildren(...elements);
  const place = byId("fleet-curves");
  if (place.children.length !== curves.length || curves.some((each, at) => place.children[at] !== each)) place.replaceChildren(...curves);
  show(byId("fleet-empty"), models.known() && !elements.length);
  const unfit = models.unfit();
  byId("fleet-broken").replaceChildren(...unfit.map((each) => el("li", {}, el("strong", {}, `${each.name}:${each.version}`), ` cannot be loaded: ${each.reason}`)));
  show(byId("fleet-broken"), unfit.length > 0);
}

function curveOf(row, model, version) {
  const { profile } = version;
  const drawn = JSON.stringify([profile, version.max_rows]);
  if (row.drawn === drawn) return row.curve;
  row.drawn = drawn;
  const chart = svg("svg", { class: "chart", "aria-hidden": "true" });
  const speed = profile.sizes.map((size, at) => (size / profile.microseconds[at]) * 1e6);
  drawProfile(chart, profile.sizes, speed, { x: "rows in one run", y: "rows/s", marked: version.max_rows });
  const best = Math.max(...speed);
  const at = profile.sizes.indexOf(version.max_rows);
  const chosen = at >= 0 ? `, ${number(speed[at])} rows/s there` : "";
  row.curve = el("figure", {}, el("figcaption", {}, el("strong", {}, `${model.name}:${version.id}`),
    ` runs up to ${counted(version.max_rows, "row")} at once${chosen}; one row alone takes ${number(profile.microseconds[0] / profile.sizes[0])} µs,`
    + ` the best measured is ${number(best)} rows/s.`), chart);
  return row.curve;
}

async function lookAtLetters() {
  if (letters.isLooking || lack("admin") || !stats || stats.dead_letters === letters.seen) return;
  letters.isLooking = true;
  const seen = stats.dead_letters;
  try {
    const { data, total } = seen ? await askJson("GET", `v1/dead-letters?limit=${LETTERS}`) : { data: [], total: 0 };
    letters.seen = seen;
    byId("dead-list").replaceChildren(...data.map(letterOf));
    say(byId("dead-note"), total ? `${counted(total, "job")} given up, since workers died with each${total > data.length ? `; the last ${number(data.length)} are here` : ""}.`
      : "None: no job was given up.");
    show(byId("dead-table"), total > 0);
  } catch (error) {
    byId("dead-error").replaceChildren(...faultOf(error).filter(Boolean));
  } finally {
    letters.isLooking = false;
  }
}

function letterOf(letter) {
  const act = async (words, doing) => {
    byId("dead-error").replaceChildren();
    try {
      say(byId("dead-done"), words(await doing()));
      letters.seen = -1;
      await lookAtLetters();
    } catch (error) {
      byId("dead-error").replaceChildren(...faultOf(error).filter(Boolean));
    }
  };
  const path = `v1/dead-letters/${encodeURIComponent(letter.id)}`;
  const replay = () => act((job) => `Replayed as job ${job.id}.`, () => askJson("POST", `${path}/replay`));
  return el("tr", {},
    el("td", {}, el("code", {}, letter.id)),
    el("td", {}, `${letter.model.replace(/^local\//, "")}:${letter.version}`),
    el("td", {}, new Date(letter.died_at).toLocaleString()),
    el("td", {}, letter.batch ? link(letter.batch.url, "ticket") : letter.error ?? ""),
    el("td", {}, el("button", { type: "button", "aria-label": `Replay ${letter.id}`, onclick: replay }, "Replay")));
}

export function start() {
  const paint = () => {
    if (!stats) return;
    paintTiles(true);
    paintModels();
  };
  // What nobody sees is not drawn: operators keep this page open all day.
  const isSeen = watched(byId("fleet"), paint);
  events.addEventListener("stats", (event) => {
    stats = event.detail;
    speeds = [...speeds, sum(stats.models.map((each) => each.rows_per_s))].slice(-REMEMBERED);
    if (isSeen()) paint();
    else paintTiles(false);
    lookAtLetters();
  });
  events.addEventListener("models", paintModels);
  events.addEventListener("session", () => {
    letters.seen = -1;
    lookAtLetters();
  });
}
