// A sheet to draw on with mouse, pen or finger. Keeps strokes as lists of points, in units of the sheet's width.

const PEN = 0.075;

export class Sheet {
  /** canvas: square. onchange: called after every stroke, and when the sheet is cleared. */
  constructor(canvas, onchange) {
    this.canvas = canvas;
    this.onchange = onchange;
    this.strokes = [];
    this.drawing = null;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#end(event));
    new ResizeObserver(() => this.paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  clear() {
    this.strokes = [];
    this.paint();
    this.onchange();
  }

  undo() {
    this.strokes.pop();
    this.paint();
    this.onchange();
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  #begin(event) {
    if (event.button !== 0 || this.drawing !== null) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = event.pointerId;
    this.strokes.push([this.#point(event)]);
    this.paint();
  }

  #go(event) {
    if (event.pointerId !== this.drawing) return;
    // All points since the last frame: a fast hand draws curves, not corners.
    const passed = event.getCoalescedEvents?.() ?? [];
    this.strokes.at(-1).push(...(passed.length ? passed : [event]).map((each) => this.#point(each)));
    this.paint();
  }

  #end(event) {
    if (event.pointerId !== this.drawing) return;
    this.drawing = null;
    this.onchange();
  }

  paint() {
    const { canvas } = this;
    const pixels = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, pixels, pixels);
    context.lineWidth = PEN * pixels;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = getComputedStyle(canvas).color;
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(stroke[0].x * pixels, stroke[0].y * pixels);
      for (const point of stroke) context.lineTo(point.x * pixels, point.y * pixels);
      context.stroke();
    }
  }
}

/** Show a field of 0 to 1 (rows of equal length) as grey pixels: what the model is given. */
export function paintField(canvas, field, width) {
  const height = field.length / width;
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  field.forEach((value, at) => image.data.set([value * 255, value * 255, value * 255, 255], at * 4));
  context.putImageData(image, 0, 0);
}
