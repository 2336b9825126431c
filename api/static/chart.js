// Small charts as SVG. Each has its figures in words beside it, so it is hidden from screen readers.

import { svg } from "./dom.js";
import { number, short } from "./format.js";

const [WIDTH, HEIGHT] = [320, 150];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 8, 10, 32];
const [INNER_X, INNER_Y] = [WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];

// So few dots are drawn larger.
const FEW = 400;

/** Round up to 1, 2 or 5 times a power of ten, so that an axis has plain numbers. */
export function plainTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value * 0.999) ?? 10 * power;
}

function axes(chart, { most, xLeast = "", xMost = "", x, y }) {
  const text = (attributes, words) => svg("text", attributes, words);
  chart.replaceChildren(
    ...[0, 0.5, 1].flatMap((share) => {
      const at = TOP + INNER_Y * (1 - share);
      return [
        svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at, class: "grid" }),
        text({ x: LEFT - 4, y: at + 3, "text-anchor": "end" }, short(most * share)),
      ];
    }),
    text({ x: LEFT, y: HEIGHT - BOTTOM + 13 }, xLeast),
    text({ x: WIDTH - RIGHT, y: HEIGHT - BOTTOM + 13, "text-anchor": "end" }, xMost),
    text({ x: LEFT + INNER_X / 2, y: HEIGHT - 5, "text-anchor": "middle" }, x),
    text({ x: 10, y: TOP + INNER_Y / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${TOP + INNER_Y / 2})` }, y),
  );
  chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
}

/** Bars in order, as one path: there may be thousands. */
export function drawBars(chart, values, { x, y }) {
  const most = plainTop(Math.max(0, ...values));
  // A few bars do not grow as wide as the chart.
  const places = Math.max(values.length, 12);
  axes(chart, { most, xLeast: "1", xMost: number(places), x, y });
  const step = INNER_X / places;
  const gap = step > 3 ? 1 : 0;
  const bars = values.map((value, at) => {
    const height = (INNER_Y * value) / most;
    return `M${(LEFT + at * step).toFixed(2)} ${TOP + INNER_Y}v${(-height).toFixed(2)}h${(step - gap).toFixed(2)}v${height.toFixed(2)}z`;
  });
  chart.append(svg("path", { d: bars.join(""), class: "bars" }));
}

/** Points {x, y} as dots, x from 1 to `far`. */
export function drawDots(chart, points, far, { x, y }) {
  const most = plainTop(Math.max(0, ...points.map((point) => point.y)));
  axes(chart, { most, xLeast: "1", xMost: number(far), x, y });
  const dots = points.map((point) => `M${(LEFT + (INNER_X * (point.x - 0.5)) / far).toFixed(1)} ${(TOP + INNER_Y * (1 - point.y / most)).toFixed(1)}h0`);
  chart.append(svg("path", { d: dots.join(""), class: points.length < FEW ? "few dots" : "dots" }));
}

/** A measured curve over a logarithmic axis, with one place on it marked. */
export function drawProfile(chart, sizes, values, { x, y, marked }) {
  const most = plainTop(Math.max(...values));
  const last = Math.max(sizes.at(-1), marked, 2);
  const place = (size) => LEFT + (INNER_X * Math.log(size)) / Math.log(last);
  axes(chart, { most, xLeast: "1", xMost: number(last), x, y });
  const line = sizes.map((size, at) => `${at ? "L" : "M"}${place(size).toFixed(1)} ${(TOP + INNER_Y * (1 - values[at] / most)).toFixed(1)}`);
  const at = place(marked);
  chart.append(
    svg("line", { x1: at, x2: at, y1: TOP, y2: TOP + INNER_Y, class: "mark" }),
    svg("path", { d: line.join(""), class: "line" }),
    ...sizes.map((size, index) => svg("circle", { cx: place(size), cy: TOP + INNER_Y * (1 - values[index] / most), r: 2.2 })),
    svg("text", { x: at > WIDTH / 2 ? at - 4 : at + 4, y: TOP + 8, "text-anchor": at > WIDTH / 2 ? "end" : "start", class: "marked" }, `max_rows ${number(marked)}`),
  );
}

/** The last values of something that goes on, as a line without axes. */
export function drawSpark(chart, values, length) {
  const most = Math.max(...values, Number.EPSILON);
  const line = values.map((value, at) => `${at ? "L" : "M"}${((at + length - values.length) * 100) / (length - 1)} ${29 - (27 * value) / most}`);
  chart.setAttribute("viewBox", "0 0 100 30");
  chart.replaceChildren(svg("path", { d: line.join(""), class: "line" }));
}
