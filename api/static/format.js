// Numbers and times as people read them.

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const FINE = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });

/** 1234.5 -> "1,235"; 3.14159 -> "3.14"; nothing -> "–". */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return Math.abs(value) >= 100 || Number.isInteger(value) ? WHOLE.format(value) : FINE.format(value);
}

/** 1234567 -> "1.23M", for axes. */
export const short = (value) => SHORT.format(value);

/** Milliseconds with their unit, in the unit that fits. */
export function milliseconds(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1000) return `${number(ms)} ms`;
  return seconds(ms / 1000);
}

/** Seconds with their unit, in the unit that fits. */
export function seconds(s) {
  if (s === null || s === undefined || Number.isNaN(s)) return "–";
  if (s < 1) return `${number(Math.round(s * 1000))} ms`;
  if (s < 120) return `${number(Math.round(s * 10) / 10)} s`;
  if (s < 7200) return `${number(Math.round(s / 60))} min`;
  return `${number(Math.round(s / 360) / 10)} h`;
}

/** 1 -> "1 row", 2 -> "2 rows". */
export function counted(count, noun, nouns = `${noun}s`) {
  return `${number(count)} ${count === 1 ? noun : nouns}`;
}

/** Bytes in the unit that fits. */
export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${number(unit ? Math.round(size * 10) / 10 : size)} ${units[unit]}`;
}

/** Text cut to a length a page can show. */
export function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** The middle, or another share, of sorted numbers. */
export function quantile(sorted, share) {
  if (!sorted.length) return null;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
