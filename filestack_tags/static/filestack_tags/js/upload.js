// The upload page: select files, send several at a time, and show the results.

import { Item } from "./upload-item.js";
import { Permits } from "./upload-permits.js";
import { Server } from "./upload-server.js";
import { TagWatch } from "./upload-tags.js";
import { NotStored, transfer } from "./upload-transfer.js";

const CONCURRENCY = 3;

const form = document.getElementById("fst-upload");
const words = form.dataset;
const input = form.querySelector("input[type=file]");
const drop = form.querySelector(".fst-drop");
const list = form.querySelector(".fst-uploads");
const summary = form.querySelector(".fst-upload-summary");
const template = document.getElementById("fst-upload-item");

const server = new Server(words, words, () => form.elements.csrfmiddlewaretoken.value);
const permits = new Permits(() => server.permit());
const items = [];
const ofAsset = new Map();
let going = 0;
let notice = "";

const watch = new TagWatch(
  (ids) => server.tags(ids),
  (row) => {
    ofAsset.get(row.id)?.showAsset(row);
    summarise();
  },
  () => {
    notice = words.textSlow;
    summarise();
  },
);

function take(files) {
  const open = items.filter((item) => ["waiting", "sending", "registering"].includes(item.state));
  const room = Math.max(Number(words.maxFiles) - open.length, 0);
  const taken = [...files].slice(0, room);
  notice = taken.length < files.length ? words.textMany : "";
  permits.drop();
  for (const file of taken) {
    const item = new Item(file, words, template, { cancel, retry });
    const problem = problemOf(file);
    if (problem) item.show("rejected", problem);
    items.push(item);
    list.append(item.element);
  }
  go();
}

function problemOf(file) {
  if (!isAllowed(file.type)) return words.textType;
  if (file.size > Number(words.maxSize)) return words.textSize;
  return file.size ? "" : words.textEmpty;
}

/** Filestack decides about types that the browser does not recognize. */
function isAllowed(type) {
  if (!type || !words.types) return true;
  return words.types
    .split(",")
    .some((each) => (each.endsWith("*") ? type.startsWith(each.slice(0, -1)) : type === each));
}

function go() {
  summarise();
  while (going < CONCURRENCY) {
    const next = items.find((item) => item.state === "waiting");
    if (!next) return;
    going += 1;
    next.show("sending");
    send(next).finally(() => {
      going -= 1;
      go();
    });
  }
}

async function send(item) {
  try {
    item.facts ??= await store(item);
    if (!item.facts) {
      item.show("cancelled");
      return;
    }
    // Register it even if the cancellation came too late: Filestack has the file.
    item.show("registering");
    const row = await server.stored(item.facts);
    ofAsset.set(row.id, item);
    item.showAsset(row);
    watch.add(row);
  } catch (error) {
    item.show("failed", reasonOf(error));
  }
}

/** Return Filestack's data about the stored file, or null if it was canceled before. */
async function store(item) {
  try {
    const [sdk, permit] = await Promise.all([import(words.sdk), permits.get()]);
    if (item.state !== "sending") return null; // canceled meanwhile
    item.going = transfer(sdk, item.file, permit, (percent) => item.progress(percent));
    const { handle, filename, mimetype, size, container, key, status } = await item.going.stored;
    return {
      handle,
      filename: filename ?? "",
      mimetype: mimetype ?? "",
      size: size ?? "",
      container: container ?? "",
      key: key ?? "",
      status: status ?? "",
    };
  } catch (error) {
    if (item.state === "cancelling") return null;
    if (error.status === 403) permits.drop();
    throw error;
  } finally {
    item.going = null;
  }
}

function reasonOf(error) {
  if (!(error instanceof NotStored)) return error.message;
  if (error.status) {
    return words.textRefused.replace("{status}", error.status).replace("{reason}", error.reason);
  }
  return error.isSilent ? words.textNetwork : words.textFailed.replace("{reason}", error.message);
}

function cancel(item) {
  // A running upload can be retried when it has ended.
  item.show(item.state === "waiting" ? "cancelled" : "cancelling");
  item.going?.cancel();
  summarise();
}

function retry(item) {
  item.show("waiting");
  go();
}

function summarise() {
  const count = (test) => items.filter(test).length;
  const values = {
    total: items.length,
    stored: count((item) => item.state === "stored"),
    failed: count((item) => item.state === "failed" || item.state === "rejected"),
    tagged: count((item) => item.tagged),
  };
  const text = words.textSummary.replace(/\{(\w+)\}/g, (_whole, name) => values[name]);
  const said = items.length ? `${text} ${notice}`.trim() : notice;
  // Update only on changes, so that screen readers announce only those.
  if (summary.textContent !== said) summary.textContent = said;
}

input.addEventListener("change", () => {
  take(input.files);
  input.value = ""; // allow selecting the same file again
});
for (const kind of ["dragenter", "dragover"]) {
  form.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.add("fst-drop-over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  form.addEventListener(kind, () => drop.classList.remove("fst-drop-over"));
}
form.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
});
form.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("beforeunload", (event) => {
  if (going) event.preventDefault();
});
form.hidden = false;
