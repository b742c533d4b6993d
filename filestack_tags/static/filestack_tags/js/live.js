// Decisions without leaving the page: the forms of a region are sent as they are, and the region
// is then shown as the server has it. Keys press the buttons of the row that has the focus. What is
// asked for while an answer is on its way waits for it.

import { current, exchange, focusRow, nextTag, prepare, region, rowOf, rows } from "./live-place.js";

const KEYS = { a: "accept", r: "reject", w: "withdraw", u: "undo" };
const MOST_WAITING = 5;

const waiting = []; // each with what it does, and the tag that it adds

const isBusy = () => region().getAttribute("aria-busy") === "true";

function say(text, isError) {
  const place = document.getElementById("fst-said");
  place.classList.toggle("fst-said-error", isError);
  place.textContent = text;
}

function wait(run, added) {
  const hasRoom = waiting.length < MOST_WAITING;
  if (hasRoom) waiting.push({ run, added });
  else say(region().dataset.fstFailed, true);
  return hasRoom;
}

// After a failure nothing that waits is done: it was asked for by somebody who did not know of it.
function drop(added) {
  const lost = [added, ...waiting.splice(0).map((each) => each.added)].find(Boolean);
  const box = nextTag();
  if (lost && box && !box.value) box.value = lost;
}

function goOn(failed) {
  while (waiting.length && !isBusy()) waiting.shift().run();
  if (!isBusy()) document.dispatchEvent(new CustomEvent("fst-settled", { detail: { failed } }));
}

async function send(order) {
  region().setAttribute("aria-busy", "true");
  let failed = true;
  try {
    const answer = await fetch(order.url, { method: "POST", body: order.said });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-fst-live]");
    if (!fresh) throw new Error("no region");
    exchange(fresh, order);
    const told = [...page.querySelectorAll(".messagelist li")];
    failed = told.some((item) => item.classList.contains("error"));
    say(told.map((item) => item.textContent.trim()).join(" "), failed);
    if (failed) drop();
  } catch {
    region().removeAttribute("aria-busy");
    drop(order.added);
    say(region().dataset.fstFailed, true);
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
    key: (row ?? current())?.dataset.fstRow,
    added: box?.value,
  };
  const mustWait = isBusy();
  if (mustWait && !wait(() => send(order), order.added)) return;
  if (box) box.value = ""; // for the next one, while this one is on its way
  if (!mustWait) send(order);
  else if (row?.contains(document.activeElement)) focusRow(row); // out of a box that is done with
}

// What a key means is settled when its turn comes: the button may be there only then.
function press(name, key) {
  if (isBusy()) {
    wait(() => press(name, key));
    return;
  }
  // Undoing an undoing brings a decision back: pressed again, the key goes further back instead.
  const place = name === "undo" ? region() : rowOf(key);
  place?.querySelector(`button[name=${name}]:not([data-fst-redo])`)?.click();
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
  if (step) {
    const there = rows();
    focusRow(row ? there[there.indexOf(row) + step] : there[0]);
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
