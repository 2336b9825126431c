// The models as the API lists them, for every part of the page that lets one be chosen.

import { askJson, events } from "./api.js";
import { choose } from "./dom.js";
import { isDigitInput } from "./frame.js";
import { exampleShape } from "./shapes.js";

// What the numbers do not tell (aliases, what is paused) is looked for this often.
const EVERY_MS = 20_000;

let models = [];
// {name, version, reason} of what workers cannot load.
let broken = [];
// The versions and their workers as the numbers told them last.
let told = "";
let isKnown = false;

export const list = () => models;
export const known = () => isKnown;
export const unfit = () => broken;

/** Return [version, model] of what "name" or "name:version" means; nothing where it is gone. */
export function find(reference) {
  const [name, version] = reference.split(":");
  const model = models.find((each) => each.name === name);
  const found = version ? model?.versions.find((each) => each.id === version) : model?.latest_version;
  return found ? [found, model] : [];
}

/** Return [value, text] for a select: each model's latest, then its versions where there are several. */
export function options() {
  return models.flatMap((model) => [
    [model.name, model.name],
    ...(model.versions.length > 1 ? model.versions.map((version) => [`${model.name}:${version.id}`, `${model.name} version ${version.id}`]) : []),
  ]);
}

/** Fill a select with the models; the first time with one chosen that a hand can draw for, if there is one. */
export function offer(select) {
  const isFirst = !select.options.length;
  choose(select, options());
  const drawable = models.find((model) => isDigit(model.latest_version));
  if (isFirst && drawable) select.value = drawable.name;
}

export const isDigit = (version) =>
  version.inputs.length === 1 && isDigitInput(version.inputs[0], exampleShape(version, version.inputs[0])) && version.labels.length === 10;

export async function refresh() {
  try {
    const answer = await askJson("GET", "v1/models");
    models = answer.data;
    broken = answer.broken;
    isKnown = true;
  } catch {
    return; // a lost connection and a refused key are said where they belong
  }
  events.dispatchEvent(new Event("models"));
}

/** Return rows of a version to try it with: {input, truth}; at most `count`. */
export async function examples(reference, count, signal) {
  const [version, model] = find(reference);
  const path = `v1/models/${encodeURIComponent(model.name)}/examples?version=${version.id}&count=${count}`;
  return askJson("GET", path, { signal });
}

export function start() {
  events.addEventListener("stats", ({ detail }) => {
    const tells = detail.models.map((each) => `${each.name}:${each.version} ${each.workers}`).join();
    if (told && tells !== told) refresh();
    told = tells;
  });
  setInterval(() => {
    if (document.visibilityState === "visible") refresh();
  }, EVERY_MS);
}
