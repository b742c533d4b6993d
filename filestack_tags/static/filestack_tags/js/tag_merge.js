// Poll a running merge of tags. Reload its page only when the state changes, so that the focus stays
// where it is until then.

import { follow, loadAgain } from "./follow.js";
import { request } from "./request.js";

const STATE = "[data-fst-merge]";
const PROGRESS = ".field-progress .readonly";

const merge = document.querySelector(STATE);
const progress = document.querySelector(PROGRESS);

async function ask() {
  const answer = await request(location.pathname);
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function show(page) {
  if (page.querySelector(STATE)?.dataset.fstMerge !== merge.dataset.fstMerge) {
    loadAgain();
    return;
  }
  const fresh = page.querySelector(PROGRESS);
  if (!fresh || !progress || progress.innerHTML === fresh.innerHTML) return;
  progress.replaceChildren(...document.importNode(fresh, true).childNodes);
}

if (merge) follow(ask, show);
