// Elements made from text that is never read as markup: whatever a model or a file is called stands there as it is.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return a new element; `on...` attributes are listeners, children are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return a new SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

/** Set an element's text, unless it says that already: a screen reader hears each change. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show an element, or hide it. */
export function show(element, isShown) {
  element.hidden = !isShown;
}

/** Replace the options of a select, keeping what was chosen where it is still there. Options: [value, text]. */
export function choose(select, options) {
  const wanted = JSON.stringify(options);
  if (select.dataset.options === wanted) return;
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
  select.dataset.options = wanted;
}

/** Return a link out of the page where the address is one of the web, else just the text. */
export function link(address, text) {
  if (!/^https?:\/\//i.test(address ?? "")) return document.createTextNode(text);
  return el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text);
}

/** Return a promise that is kept after some milliseconds, or broken when the signal is. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
