// Load the tags of a result when their panel is opened; on wide screens it starts open.

import { LoggedOut, request } from "./request.js";

const WIDE = 1000;

function filling(panel) {
  const target = panel.querySelector("[data-fst-target]");
  let isAsked = false;

  async function load() {
    if (!panel.open || isAsked) return;
    isAsked = true;
    target.setAttribute("aria-busy", "true");
    try {
      const response = await request(panel.dataset.fstFacets);
      if (!response.ok) throw new Error(response.statusText);
      target.innerHTML = await response.text(); // trusted: rendered by Django's templates
    } catch (error) {
      target.textContent = error instanceof LoggedOut ? error.message : target.dataset.failed;
      isAsked = false; // opening it again retries
    } finally {
      target.removeAttribute("aria-busy");
    }
  }

  panel.addEventListener("toggle", load);
  target.addEventListener("click", (event) => {
    const name = event.target.closest(".fst-facet-name");
    const exclude = name?.parentElement.querySelector(".fst-facet-exclude");
    if (event.shiftKey && exclude) {
      event.preventDefault();
      window.location.assign(exclude.href);
    }
  });
  if (window.innerWidth >= WIDE) panel.open = true;
  load();
}

document.querySelectorAll("[data-fst-facets]").forEach(filling);
