// Poll the progress of something, and show it.

const PAUSE = 1500; // milliseconds
const LONGEST_PAUSE = 30000;

let isLeaving = false;

// Reload the page, to show the result and the actions that are possible now.
export function loadAgain() {
  isLeaving = true;
  location.reload();
}

export function follow(ask, show) {
  async function look(pause) {
    let next = PAUSE;
    try {
      const now = await ask();
      // If another page is loading, reloading this one would cancel it.
      if (!isLeaving) show(now);
    } catch {
      next = Math.min(pause * 2, LONGEST_PAUSE); // unreachable server: poll less often
    }
    setTimeout(look, next, next);
  }
  setTimeout(look, PAUSE, PAUSE);
  // Not every browser sends beforeunload.
  document.addEventListener("submit", () => { isLeaving = true; });
  addEventListener("beforeunload", () => { isLeaving = true; });
  addEventListener("pageshow", (event) => {
    if (event.persisted) isLeaving = false; // restored by the Back button
  });
}
