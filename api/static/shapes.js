// The shape of one example of an input, as a client sends it in JSON.

/** Return the sizes of the axes, -1 for any: one row without its batch axis, or the whole tensor; null: any shape. */
export function exampleShape(version, spec) {
  if (spec.shape === null) return null;
  return version.has_rows ? spec.shape.filter((_, axis) => axis !== spec.batch_axis) : spec.shape;
}
