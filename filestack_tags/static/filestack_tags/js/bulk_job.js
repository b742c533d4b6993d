// Keep the progress of a bulk job up to date while it waits or runs.

const PAUSE = 1500; // milliseconds
const LONGEST_PAUSE = 30000;

const job = document.querySelector("[data-fst-progress]");
let isLeaving = false;

function write(name, text) {
  const place = job.querySelector(`[data-fst="${name}"]`);
  if (place && place.textContent !== text) place.textContent = text;
}

function show(now) {
  if (!now.is_open) {
    isLeaving = true;
    location.reload(); // with what came of it, and what can be done now
    return;
  }
  for (const name of ["state_text", "text", "left"]) write(name, now[name]);
  for (const name of ["changed", "skipped", "failed"]) {
    write(name, now.counts[name].toLocaleString(document.documentElement.lang || undefined));
  }
  job.querySelector("progress").value = now.share;
}

async function look(pause) {
  let next = PAUSE;
  try {
    const response = await fetch(job.dataset.fstProgress, {
      headers: { Accept: "application/json" },
    });
    if (!response.ok) throw new Error(String(response.status));
    const now = await response.json();
    // The page that answers a form is on its way: loading this one again would keep it from coming.
    if (!isLeaving) show(now);
  } catch {
    next = Math.min(pause * 2, LONGEST_PAUSE); // the server is away: ask ever more seldom
  }
  setTimeout(look, next, next);
}

if (job) {
  setTimeout(look, PAUSE, PAUSE);
  document.addEventListener("submit", () => { isLeaving = true; });
  addEventListener("pageshow", (event) => {
    if (event.persisted) isLeaving = false; // shown again by the Back button
  });
}
