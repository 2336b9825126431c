// A form made from a model's signature: a field for each input, with an example that works in it.

import { el } from "./dom.js";
import { rowOfImage } from "./image.js";
import { exampleShape } from "./shapes.js";

// A short list of numbers gets a field each; what is longer is written as JSON.
const MOST_FIELDS = 16;
const NUMBER = /^(u?int|float)/;

/** What an input takes, in words: "float32, 28 × 28, from 0 to 1". */
function described(spec, shape) {
  const sizes = shape?.map((size) => (size < 0 ? "any" : size));
  const range = spec.range ? `, from ${spec.range[0]} to ${spec.range[1]}` : "";
  return `${spec.dtype}, ${!sizes ? "any shape" : sizes.length ? sizes.join(" × ") : "one value"}${range}`;
}

/** The fields of one input; `read()` returns its value, or throws an Error that says what is wrong with it. */
function fieldsOf(spec, shape, example, id) {
  if (!shape || shape.length > 1) return asJson(spec, example, id);
  if (!shape.length || shape[0] === 1) return single(spec, shape.length ? example?.[0] : example, id, shape.length);
  if (shape[0] > 1 && shape[0] <= MOST_FIELDS && NUMBER.test(spec.dtype)) return several(spec, shape[0], example, id);
  return asJson(spec, example, id);
}

function single(spec, example, id, axes) {
  const wrap = (value) => (axes ? [value] : value);
  if (spec.dtype === "bool") {
    const input = el("input", { type: "checkbox", id, checked: example === true });
    return { label: id, nodes: [input], read: () => wrap(input.checked) };
  }
  const input = textField(spec, example, id, spec.name);
  return { label: id, nodes: [input], read: () => wrap(valueOf(spec, input, spec.name)) };
}

function several(spec, length, example, id) {
  const inputs = Array.from({ length }, (_, at) =>
    textField(spec, example?.[at], `${id}-${at}`, `${spec.name}, value ${at + 1} of ${length}`));
  return {
    label: null,
    nodes: [el("div", { class: "values" }, inputs)],
    read: () => inputs.map((input, at) => valueOf(spec, input, `${spec.name}[${at}]`)),
  };
}

function textField(spec, example, id, label) {
  const [least, most] = spec.range ?? [null, null];
  return NUMBER.test(spec.dtype)
    ? el("input", { type: "number", step: spec.dtype.startsWith("float") ? "any" : 1, id, value: example ?? 0, min: least, max: most, "aria-label": label })
    : el("input", { type: "text", id, value: example ?? "", "aria-label": label, autocomplete: "off" });
}

function valueOf(spec, input, name) {
  if (input.type !== "number") return input.value;
  if (input.value.trim() === "") throw new Error(`${name}: expected a number`);
  return Number(input.value);
}

function asJson(spec, example, id) {
  const area = el("textarea", { id, rows: 6, spellcheck: "false", autocomplete: "off" });
  area.value = example === undefined ? "" : JSON.stringify(example);
  const nodes = [area];
  const field = {
    label: id,
    nodes,
    read() {
      try {
        return JSON.parse(area.value);
      } catch (error) {
        throw new Error(`${spec.name}: this is not JSON: ${error.message}`);
      }
    },
  };
  if (spec.preprocess) nodes.push(imageDrop(spec, id, area));
  return field;
}

/** A place to drop an image, which becomes the row of this input. */
function imageDrop(spec, id, area) {
  const note = el("p", { class: "note", role: "status" });
  const take = async (file) => {
    if (!file) return;
    try {
      area.value = JSON.stringify(await rowOfImage(file, spec));
      note.className = "note";
      note.textContent = `${file.name} is the input now.`;
    } catch (error) {
      note.className = "error";
      note.textContent = error.message;
    }
  };
  const input = el("input", { type: "file", accept: "image/png,image/jpeg", id: `${id}-image`, onchange: () => take(input.files[0]) });
  const zone = el("div", { class: "drop" }, el("label", { for: `${id}-image` }, "Drop a PNG or JPEG here, or choose one: "), input);
  dropsInto(zone, (files) => take(files[0]));
  return el("div", {}, zone, note);
}

/** Let files be dropped on an element. */
export function dropsInto(zone, take) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

/** Fill `place` with the form of a version; returns a function that reads the `input` of a job from it. */
export function buildForm(place, version, example) {
  const fields = version.inputs.map((spec, at) => {
    const id = `input-${at}`;
    const shape = exampleShape(version, spec);
    const field = fieldsOf(spec, shape, example?.[spec.name], id);
    const title = field.label ? el("label", { for: field.label }, spec.name) : el("span", { class: "label" }, spec.name);
    place.append(el("div", { class: "field" }, title, el("span", { class: "note" }, ` ${described(spec, shape)}`), field.nodes));
    return [spec.name, field.read];
  });
  return () => Object.fromEntries(fields.map(([name, read]) => [name, read()]));
}
