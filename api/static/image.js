// Turns a PNG or JPEG into one row of an input, as the input's `preprocess` says and as bulk workers do it.

const KINDS = ["image/png", "image/jpeg"];
const [PNG, ACTL, IDAT] = [0x89504e47, 0x6163544c, 0x49444154];
const MOST_PIXELS = 40_000_000;
// Pillow's own weights for grey (ITU-R 601-2), in units of 1/65536.
const GREY = [19595, 38470, 7471];

/** Return nested lists for one row; throws an Error that says what is wrong with the file. */
export async function rowOfImage(file, spec) {
  const how = spec.preprocess;
  if (!KINDS.includes(file.type)) throw new Error(`${file.name} is neither a PNG nor a JPEG image`);
  if (await isAnimation(file)) throw new Error(`${file.name} is an animation; save the frame you mean as PNG`);
  const { pixels, width, height } = await decode(file, how.background);
  let planes = how.mode === "L" ? [greyOf(pixels)] : [0, 1, 2].map((channel) => channelOf(pixels, channel));
  let [rows, columns] = [height, width];
  if (how.size && (how.size[0] !== rows || how.size[1] !== columns)) {
    planes = planes.map((plane) => resize(plane, width, height, how.size[1], how.size[0]));
    [rows, columns] = how.size;
  }
  planes = planes.map((plane, channel) => numbersOf(plane, how, channel, spec));
  return nest(planes, rows, columns, how.layout);
}

/** Whether a PNG has several frames. A JPEG with several pictures shows the first, the photo. */
async function isAnimation(file) {
  const view = new DataView(await file.arrayBuffer());
  if (view.byteLength < 8 || view.getUint32(0) !== PNG) return false;
  for (let at = 8; at + 12 <= view.byteLength; at += 12 + view.getUint32(at)) {
    const kind = view.getUint32(at + 4);
    if (kind === ACTL) return view.getUint32(at + 8) > 1;
    if (kind === IDAT) return false;
  }
  return false;
}

/** Return the pixels of an image: upright, and opaque over the background. */
async function decode(file, background) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name} cannot be decoded: is it a whole PNG or JPEG image?`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`${file.name} has ${width} x ${height} pixels, over ${MOST_PIXELS} in all`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = `rgb(${background.join(" ")})`;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { pixels: context.getImageData(0, 0, width, height).data, width, height };
}

function greyOf(pixels) {
  const plane = new Uint8Array(pixels.length / 4);
  for (let at = 0; at < plane.length; at += 1) {
    const [r, g, b] = [pixels[4 * at], pixels[4 * at + 1], pixels[4 * at + 2]];
    plane[at] = (r * GREY[0] + g * GREY[1] + b * GREY[2] + 0x8000) >> 16;
  }
  return plane;
}

function channelOf(pixels, channel) {
  const plane = new Uint8Array(pixels.length / 4);
  for (let at = 0; at < plane.length; at += 1) plane[at] = pixels[4 * at + channel];
  return plane;
}

/** Resize with a triangle filter as wide as the shrinking asks for: bilinear, with nothing skipped. */
export function resize(plane, width, height, newWidth, newHeight) {
  const wide = alongRows(plane, width, height, newWidth);
  return turned(alongRows(turned(wide, newWidth, height), height, newWidth, newHeight), newHeight, newWidth);
}

function alongRows(plane, width, height, newWidth) {
  if (width === newWidth) return plane;
  const out = new Uint8Array(newWidth * height);
  const ratio = width / newWidth;
  const support = Math.max(1, ratio);
  for (let x = 0; x < newWidth; x += 1) {
    const centre = (x + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const last = Math.min(width, Math.floor(centre + support + 0.5));
    const weights = [];
    for (let from = first; from < last; from += 1) weights.push(Math.max(0, 1 - Math.abs((from - centre + 0.5) / support)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let y = 0; y < height; y += 1) {
      let sum = 0;
      for (let i = 0; i < weights.length; i += 1) sum += weights[i] * plane[y * width + first + i];
      out[y * newWidth + x] = Math.max(0, Math.min(255, Math.round(sum / total)));
    }
  }
  return out;
}

function turned(plane, width, height) {
  const out = new Uint8Array(plane.length);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) out[x * height + y] = plane[y * width + x];
  return out;
}

function numbersOf(plane, how, channel, spec) {
  const of = (values) => (values.length > 1 ? values[channel] : values[0]);
  const isWhole = !spec.dtype.startsWith("float");
  return Array.from(plane, (pixel) => {
    let value = (how.invert ? 255 - pixel : pixel) * how.scale;
    if (how.mean.length) value -= of(how.mean);
    if (how.std.length) value /= of(how.std);
    return isWhole ? Math.round(value) : Number(Math.fround(value).toPrecision(8));
  });
}

function nest(planes, rows, columns, layout) {
  const grid = (pick) => Array.from({ length: rows }, (_, y) => Array.from({ length: columns }, (_, x) => pick(y * columns + x)));
  if (layout === "CHW") return planes.map((plane) => grid((at) => plane[at]));
  if (layout === "HW") return grid((at) => planes[0][at]);
  return grid((at) => planes.map((plane) => plane[at]));
}
