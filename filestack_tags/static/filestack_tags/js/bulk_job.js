// Update the progress of a bulk job while it waits or runs.

import { follow, loadAgain } from "./follow.js";
import { request } from "./request.js";

const job = document.querySelector("[data-fst-progress]");

async function ask() {
  const response = await request(job.dataset.fstProgress, {
    headers: { Accept: "application/json" },
  });
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

function write(name, text) {
  const place = job.querySelector(`[data-fst="${name}"]`);
  if (place && place.textContent !== text) place.textContent = text;
}

function show(now) {
  if (!now.is_open) {
    loadAgain();
    return;
  }
  for (const name of ["state_text", "text", "left"]) write(name, now[name]);
  for (const name of ["changed", "skipped", "failed"]) {
    write(name, now.counts[name].toLocaleString(document.documentElement.lang || undefined));
  }
  job.querySelector("progress").value = now.share;
}

if (job) follow(ask, show);
