// Decisions without leaving the page: the forms of a region are sent as they are, and the region
// is then shown as the server has it. Keys press the buttons of the row that has the focus, which
// goes to the next undecided row at once. What is asked for while an answer is on its way waits.

import {
  current, exchange, focusRow, nextTag, nextUndecided, prepare, region, rowOf, rows,
} from "./live-place.js";
import { LoggedOut, request } from "./request.js";

const KEYS = { a: "accept", r: "reject", w: "withdraw", u: "undo" };
const DECISIONS = ["accept", "reject", "change"];
const MOST_WAITING = 100;

const waiting = []; // each with what it does, the row it is about, and the tag that it adds
const pending = new Set(); // rows about which a decision waits or is on its way
const mine = []; // decisions that were made on this page and not undone, for the key that undoes
let advanced = null; // the row that has the focus because of a decision

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

// After a failure nothing that waits is done: it was asked for by a user who did not know of it.
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

// Move the focus off a row that is being decided about.
function advance(row) {
  pending.add(row.dataset.fstRow);
  if (!row.contains(document.activeElement)) return;
  const next = nextUndecided(row, pending);
  advanced = next?.dataset.fstRow ?? null;
  focusRow(next ?? row);
}

// The decision was not made, so the row of it has the focus again.
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
  if (box) box.value = ""; // for the next one, while this one is on its way
  if (row && DECISIONS.includes(order.name)) advance(row);
  else if (mustWait && row?.contains(document.activeElement)) focusRow(row);
  if (!mustWait) send(order);
}

// What a key means is settled when its turn comes: the button may be there only then.
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

// Only what was decided on this page; pressed again, the key goes further back.
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
  // The next one has the focus already, of itself: a key that leads to the next one stays there.
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
