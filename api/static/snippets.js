// The request that was just sent, as a line for the shell and as a Python program. Never holds an API key.

import { key } from "./api.js";

/** Return the URL that the page's relative URLs begin with, under whatever prefix a proxy serves it. */
const here = () => new URL(".", location.href).href;

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Return the curl command that sends `body` (JSON text) as a job and waits for it. */
export function asCurl(body) {
  const parts = [
    `curl -sS '${here()}v1/predictions?wait=10'`,
    ...(key.get() ? [`-H "Authorization: Bearer $FERRY_API_KEY"`] : []),
    `-H 'Content-Type: application/json'`,
    `-d ${quoted(body)}`,
  ];
  return parts.join(" \\\n  ");
}

/** Return a Python program that does the same with the standard library alone. */
export function asPython(body) {
  return [
    "import json",
    ...(key.get() ? ["import os"] : []),
    "from urllib.request import Request, urlopen",
    "",
    `body = json.loads(${pythonText(body)})`,
    "request = Request(",
    `    "${here()}v1/predictions?wait=10",`,
    "    data=json.dumps(body).encode(),",
    `    headers={"Content-Type": "application/json"${key.get() ? `, "Authorization": f"Bearer {os.environ['FERRY_API_KEY']}"` : ""}},`,
    ")",
    "job = json.load(urlopen(request))",
    `print(job["state"], job["labels"] or job["output"])`,
    "",
  ].join("\n");
}

/** JSON text as a Python string literal: JSON's own escapes are Python's too. */
function pythonText(text) {
  return JSON.stringify(text).replaceAll(/[\u007f-\uffff]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Copy text; on plain http beyond this machine browsers have no clipboard, so it is selected there instead. */
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
  }
}
