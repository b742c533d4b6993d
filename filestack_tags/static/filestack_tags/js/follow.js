// Ask again and again how far something is, and show it.

const PAUSE = 1500; // milliseconds
const LONGEST_PAUSE = 30000;

let isLeaving = false;

// Load the page again, with what came of it and what can be done now.
export function loadAgain() {
  isLeaving = true;
  location.reload();
}

export function follow(ask, show) {
  async function look(pause) {
    let next = PAUSE;
    try {
      const now = await ask();
      // Another page is on its way: loading this one again would keep it from coming.
      if (!isLeaving) show(now);
    } catch {
      next = Math.min(pause * 2, LONGEST_PAUSE); // the server is away: ask ever more seldom
    }
    setTimeout(look, next, next);
  }
  setTimeout(look, PAUSE, PAUSE);
  // Not every browser tells of the latter.
  document.addEventListener("submit", () => { isLeaving = true; });
  addEventListener("beforeunload", () => { isLeaving = true; });
  addEventListener("pageshow", (event) => {
    if (event.persisted) isLeaving = false; // shown again by the Back button
  });
}
