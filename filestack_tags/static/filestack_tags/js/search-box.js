// Complete the tag name at the caret of the search box: a combobox with a listbox, following the
// WAI-ARIA practices. Also submit the confidence slider when it is released.

import { request } from "./request.js";

const DELAY = 120; // milliseconds between a key and the request

function completing(form) {
  const input = form.querySelector("#searchbar");
  const list = form.querySelector("#fst-options");
  const status = form.querySelector("#fst-options-count");
  let answer = null;
  let answered = ""; // the text of the box for these completions
  let active = -1;
  let timer = 0;
  let asked = null;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  close();

  function close() {
    clearTimeout(timer);
    asked?.abort();
    answer = null;
    active = -1;
    list.hidden = true;
    list.replaceChildren();
    status.textContent = "";
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  async function ask() {
    asked?.abort();
    asked = new AbortController();
    const caret = input.selectionStart;
    const { value } = input;
    const query = new URLSearchParams({
      before: value.slice(0, caret),
      after: value.slice(caret),
    });
    try {
      const response = await request(`${form.dataset.fstComplete}?${query}`, {
        signal: asked.signal,
        headers: { Accept: "application/json" },
      });
      if (!response.ok) return close();
      show(await response.json(), value);
    } catch (error) {
      if (error.name !== "AbortError") close(); // completion is optional: show no error
    }
  }

  function show(found, value) {
    if (document.activeElement !== input) return;
    const chosen = answer?.tags[active]?.name;
    answer = found;
    answered = value;
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.replaceChildren(...found.tags.map(option));
    list.hidden = found.tags.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    status.textContent = list.hidden
      ? status.dataset.none
      : `${status.dataset.some} ${found.tags.length}`;
    const index = found.tags.findIndex((tag) => tag.name === chosen);
    if (index >= 0) highlight(index);
  }

  function option(tag, index) {
    const item = document.createElement("li");
    item.id = `fst-option-${index}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    const name = document.createElement("bdi");
    name.textContent = tag.name;
    const count = document.createElement("span");
    count.className = "fst-confidence";
    count.textContent = tag.count.toLocaleString(document.documentElement.lang);
    item.append(name, " ", count);
    if (tag.note) count.append(` ${tag.note}`);
    // Runs before the click takes the focus from the box.
    item.addEventListener("mousedown", (event) => {
      event.preventDefault();
      choose(index);
    });
    return item;
  }

  function highlight(index) {
    const options = [...list.children];
    active = (index + options.length) % options.length;
    options.forEach((each, at) => each.setAttribute("aria-selected", String(at === active)));
    options[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[active].id);
  }

  function choose(index) {
    if (input.value !== answered) return; // outdated: a newer request is in progress
    const written = answer.before + answer.tags[index].text;
    input.value = written + answer.after;
    input.setSelectionRange(written.length, written.length);
    close();
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, DELAY);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) ask();
      else if (event.key === "ArrowDown") highlight(active + 1);
      else highlight(active < 0 ? -1 : active - 1);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if ((event.key === "Enter" || event.key === "Tab") && active >= 0) {
      event.preventDefault();
      choose(active);
    }
  });
}

function sliding(form) {
  const range = form.querySelector("input[type=range]");
  const output = form.querySelector("output");
  form.querySelector("input[type=submit]").hidden = true;
  range.addEventListener("input", () => {
    output.value = range.value;
  });
  // Keys move it step by step: wait until it stops.
  let timer = 0;
  range.addEventListener("change", () => {
    clearTimeout(timer);
    timer = setTimeout(() => form.requestSubmit(), 400);
  });
  addEventListener("beforeunload", () => clearTimeout(timer)); // the user followed a link first
}

document.querySelectorAll("[data-fst-complete]").forEach(completing);
document.querySelectorAll("[data-fst-slider]").forEach(sliding);
