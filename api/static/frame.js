// Brings a drawn digit to MNIST's frame, as the data set was made: the digit fits a box of 20 x 20 with its proportions
// kept, and its centre of mass stands in the centre of a field of 28 x 28 (LeCun, Cortes, Burges: the MNIST database).
// Strokes are scaled as lines and inked afterwards, so a digit drawn small gets the same pen as one drawn large.

export const FIELD = 28;
const BOX = 20;
// Where MNIST's centres of mass are, counted from the first pixel's corner.
const CENTRE = FIELD / 2 + 0.5;
// The pen, in pixels of the field: full ink up to FULL from the line, none from NONE on. Chosen so that ten plain digits
// carry as much ink as MNIST's (103 pixels' worth on average).
const FULL = 0.75;
const NONE = 1.9;

/**
 * Ink strokes into the frame.
 * strokes: lists of points {x, y}, y downwards, in any unit. Returns Float32Array of 28 x 28, row by row, 0 paper to 1
 * ink; null where there is no point.
 */
export function frameDigit(strokes) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [left, right] = extent(points.map((point) => point.x));
  const [top, bottom] = extent(points.map((point) => point.y));
  const size = Math.max(right - left, bottom - top);
  // A dot has no size to scale.
  const scale = size > 0 ? (BOX - 2 * FULL) / size : 0;
  const place = (offsetX, offsetY) =>
    strokes.map((stroke) =>
      stroke.map((point) => ({
        x: (point.x - (left + right) / 2) * scale + offsetX,
        y: (point.y - (top + bottom) / 2) * scale + offsetY,
      })),
    );
  const first = ink(place(FIELD / 2, FIELD / 2));
  const mass = centreOfMass(first);
  // Whole ink stays in the field, however far from its middle its mass is.
  const slack = (extentPx) => Math.max(0, (FIELD - (extentPx * scale + 2 * FULL)) / 2);
  const shift = (by, most) => Math.max(-most, Math.min(most, by));
  const shiftX = shift(CENTRE - mass.x, slack(right - left));
  const shiftY = shift(CENTRE - mass.y, slack(bottom - top));
  return ink(place(FIELD / 2 + shiftX, FIELD / 2 + shiftY));
}

function extent(numbers) {
  return [Math.min(...numbers), Math.max(...numbers)];
}

/** Ink lines into a field; coordinates in pixels, a pixel's centre half way between its corners. */
function ink(strokes) {
  const field = new Float32Array(FIELD * FIELD);
  for (const stroke of strokes) {
    for (let i = 0; i < stroke.length; i += 1) inkSegment(field, stroke[Math.max(0, i - 1)], stroke[i]);
  }
  return field;
}

function inkSegment(field, from, to) {
  const reach = (a, b) => [Math.max(0, Math.floor(Math.min(a, b) - NONE)), Math.min(FIELD - 1, Math.ceil(Math.max(a, b) + NONE))];
  const [x0, x1] = reach(from.x, to.x);
  const [y0, y1] = reach(from.y, to.y);
  for (let y = y0; y <= y1; y += 1) {
    for (let x = x0; x <= x1; x += 1) {
      const far = distance(x + 0.5, y + 0.5, from, to);
      const value = Math.max(0, Math.min(1, (NONE - far) / (NONE - FULL)));
      const at = y * FIELD + x;
      if (value > field[at]) field[at] = value;
    }
  }
}

function distance(x, y, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length2 = dx * dx + dy * dy;
  const along = length2 ? Math.max(0, Math.min(1, ((x - from.x) * dx + (y - from.y) * dy) / length2)) : 0;
  return Math.hypot(x - from.x - along * dx, y - from.y - along * dy);
}

/** Return where a field's ink is in the middle; {x, y} in pixels from the first one's corner. */
export function centreOfMass(field) {
  let [mass, x, y] = [0, 0, 0];
  field.forEach((value, at) => {
    mass += value;
    x += value * ((at % FIELD) + 0.5);
    y += value * (Math.floor(at / FIELD) + 0.5);
  });
  return { x: x / mass, y: y / mass };
}

/** Turn a field into nested lists, as the API reads it; rounded so that a request stays short. */
export function rowOf(field, shape) {
  const round = (value) => Math.round(value * 1000) / 1000;
  const rows = [];
  for (let y = 0; y < FIELD; y += 1) rows.push(Array.from(field.subarray(y * FIELD, (y + 1) * FIELD), round));
  if (shape.length === 1) return rows.flat();
  return shape.at(-1) === 1 && shape.length === 3 ? rows.map((row) => row.map((value) => [value])) : rows;
}

/** Whether an input is a digit in MNIST's frame: 28 x 28 numbers from 0 to 1. shape: of one example. */
export function isDigitInput(spec, shape) {
  const inner = shape?.join("x");
  const range = spec.range ?? [];
  return ["28x28", "28x28x1", "784"].includes(inner) && spec.dtype.startsWith("float") && range[0] === 0 && range[1] === 1;
}
