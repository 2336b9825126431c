// The page: starts its parts, and says whether the API is there.

import { events } from "./api.js";
import * as bulk from "./bulk.js";
import { byId, say, show } from "./dom.js";
import * as feed from "./feed.js";
import * as fleet from "./fleet.js";
import * as many from "./many.js";
import * as models from "./models.js";
import * as session from "./session.js";
import * as trying from "./try.js";

let isAway = false;

function away(words) {
  isAway = true;
  say(byId("connection-words"), words);
  show(byId("connection"), true);
}

function back() {
  show(byId("connection"), false);
  if (!isAway) return;
  isAway = false;
  session.refresh(); // and with it everything else
}

function startConnection() {
  events.addEventListener("away", () => away("The API does not answer. What was accepted goes on; this page looks again by itself."));
  events.addEventListener("stats-problem", (event) => away(`The API answers, its queue does not: ${event.detail.detail}`));
  events.addEventListener("stats", back);
  // Who may not read the numbers still sees that the API is there.
  events.addEventListener("stats-refused", back);
  // A request found the API gone: the stream is opened anew, and tells whether it is.
  events.addEventListener("lost", () => isAway || away("The API cannot be reached. What was accepted goes on; this page looks again by itself."));
  byId("connection-retry").addEventListener("click", feed.restart);
}

startConnection();
// A file dropped beside its place would replace the page, and the drawing with it.
for (const name of ["dragover", "drop"]) {
  addEventListener(name, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
}
for (const part of [session, models, trying, many, bulk, fleet]) part.start();
events.addEventListener("session", () => {
  models.refresh();
  feed.restart();
});
session.refresh();
feed.restart();
