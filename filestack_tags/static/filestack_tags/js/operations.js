// Refresh the operations page: fetch the region, replace it, and restore the focus. Pauses while the
// page is hidden, while text is selected, and while a pointer is pressed.

import { LoggedOut, request } from "./request.js";

const PAUSE = 10_000; // milliseconds
const LONGEST_PAUSE = 60_000;

const region = () => document.querySelector("[data-fst-ops]");
const said = document.querySelector("[data-fst-failed]");
const choice = document.querySelector("[data-fst-auto]");
const box = choice.querySelector("input");
let pause = PAUSE;
let timer;

function isReading() {
  const selection = document.getSelection();
  const isSelecting = !selection.isCollapsed && region().contains(selection.anchorNode);
  return document.hidden || isSelecting || region().matches(":active");
}

function show(fresh) {
  const focused = region().contains(document.activeElement) ? document.activeElement.id : "";
  const headline = () => region().querySelector("h2").textContent.trim();
  const before = headline();
  region().replaceWith(document.importNode(fresh, true));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  said.textContent = headline() === before ? "" : headline();
}

async function refresh() {
  if (box.checked && !isReading()) {
    try {
      const answer = await request(location.pathname);
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-fst-ops]");
      if (!fresh) throw new Error("no region");
      if (box.checked && !isReading()) show(fresh);
      pause = PAUSE;
    } catch (error) {
      said.textContent = error instanceof LoggedOut ? error.message : said.dataset.fstFailed;
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }
  start();
}

function start() {
  clearTimeout(timer);
  timer = setTimeout(refresh, pause);
}

choice.hidden = false;
box.addEventListener("change", () => { if (box.checked) refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
start();
