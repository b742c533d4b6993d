// Decide without reloading the page: send the forms of a region, then replace the region with the
// server's response. Keys press the buttons of the focused row; the focus then moves to the next
// undecided row at once. Requests are queued while another one is unanswered.

import {
  current, exchange, focusRow, nextTag, nextUndecided, prepare, region, rowOf, rows,
} from "./live-place.js";
import { LoggedOut, request } from "./request.js";

const KEYS = { a: "accept", r: "reject", w: "withdraw", u: "undo" };
const DECISIONS = ["accept", "reject", "change"];
const MOST_WAITING = 100;

const waiting = []; // each with its function, its row, and the tag that it adds
const pending = new Set(); // rows with a queued or unanswered decision
const mine = []; // decisions made on this page and not undone, for the undo key
let advanced = null; // the row that got the focus from a decision

const isBusy = () => region().getAttribute("aria-busy") === "true";

function say(text, isError) {
  const place = document.getElementById("fst-said");
  place.classList.toggle("fst-said-error", isError);
  place.textContent = text;
}

function wait(run, added) {
  const hasRoom = waiting.length < MOST_WAITING;
  if (hasRoom) waiting.push({ run, added });
  else say(region().dataset.fstFull, true);
  return hasRoom;
}

// After a failure, drop the queue: the user made those requests without knowing about it.
function drop(added) {
  const lost = [added, ...waiting.splice(0).map((each) => each.added)].find(Boolean);
  const box = nextTag();
  if (lost && box && !box.value) box.value = lost;
  pending.clear();
}

function goOn(failed) {
  while (waiting.length && !isBusy()) waiting.shift().run();
  if (!isBusy()) document.dispatchEvent(new CustomEvent("fst-settled", { detail: { failed } }));
}

// Move the focus away from a row whose decision is being sent.
function advance(row) {
  pending.add(row.dataset.fstRow);
  if (!row.contains(document.activeElement)) return;
  const next = nextUndecided(row, pending);
  advanced = next?.dataset.fstRow ?? null;
  focusRow(next ?? row);
}

// The decision failed, so its row gets the focus back.
function goBack(key) {
  const row = rowOf(key);
  advanced = null;
  if (row && document.activeElement === current()) focusRow(row);
}

function remember(order) {
  const undone = mine.indexOf(order.said.get("undo"));
  if (undone >= 0) mine.splice(undone, 1);
  const { fstDecided: decided } = region().dataset;
  if (decided) mine.push(decided);
}

async function send(order) {
  region().setAttribute("aria-busy", "true");
  let failed = true;
  try {
    const answer = await request(order.url, { method: "POST", body: order.said });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-fst-live]");
    if (!fresh) throw new Error("no region");
    const told = [...fresh.querySelectorAll("[data-fst-messages] li")];
    failed = told.some((item) => item.classList.contains("error"));
    if (failed) goBack(order.key);
    const isDecision = DECISIONS.includes(order.name);
    if (isDecision) pending.delete(order.key);
    exchange(fresh, order, isDecision && !failed ? pending : null);
    say(told.map((item) => item.textContent.trim()).join(" "), failed);
    if (failed) drop();
    else remember(order);
  } catch (error) {
    region().removeAttribute("aria-busy");
    drop(order.added);
    goBack(order.key);
    say(error instanceof LoggedOut ? error.message : region().dataset.fstFailed, true);
  }
  goOn(failed);
}

function submit(form, button) {
  const row = form.closest("[data-fst-row]");
  const box = button?.name === "add" ? form.querySelector("[type=text]") : null;
  const order = {
    form,
    url: form.getAttribute("action"),
    said: new FormData(form, button),
    name: button?.name,
    key: form.dataset.fstAbout ?? (row ?? current())?.dataset.fstRow,
    added: box?.value,
  };
  const mustWait = isBusy();
  if (mustWait && !wait(() => send(order), order.added)) return;
  if (box) box.value = ""; // for the next tag, while this one is being sent
  if (row && DECISIONS.includes(order.name)) advance(row);
  else if (mustWait && row?.contains(document.activeElement)) focusRow(row);
  if (!mustWait) send(order);
}

// Look up the button when the key's turn comes: it may not exist before.
function press(name, key) {
  if (isBusy()) {
    if (wait(() => press(name, key)) && DECISIONS.includes(name) && rowOf(key)) advance(rowOf(key));
    return;
  }
  if (name === "undo") {
    undo();
    return;
  }
  const button = rowOf(key)?.querySelector(`button[name=${name}]`);
  if (button) button.click();
  else pending.delete(key);
}

// Undo only decisions made on this page; each further press undoes the one before.
function undo() {
  const form = region().querySelector("[data-fst-undo]");
  const id = mine.at(-1);
  if (!form || !id) {
    say(region().dataset.fstNone, false);
    return;
  }
  const button = form.querySelector("button");
  Object.assign(button, { name: "undo", value: id });
  form.requestSubmit(button);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || !form.closest("[data-fst-live]")) return;
  event.preventDefault();
  submit(form, event.submitter);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const row = current();
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape" && row) focusRow(row);
    return;
  }
  const step = { j: 1, s: 1, k: -1 }[event.key]
    ?? (row ? { ArrowDown: 1, ArrowUp: -1 }[event.key] : undefined);
  // The decision already moved the focus to the next row, so a key for the next row stays there.
  const isThere = step === 1 && event.key !== "s" && row && row.dataset.fstRow === advanced;
  advanced = null;
  if (step) {
    const there = rows();
    if (!isThere) focusRow(row ? there[there.indexOf(row) + step] : there[0]);
  } else if (event.key === "c" && row) {
    row.querySelector("input[type=number]")?.select();
  } else if (event.key in KEYS) {
    press(KEYS[event.key], row?.dataset.fstRow);
  } else {
    return;
  }
  event.preventDefault();
});

prepare();
