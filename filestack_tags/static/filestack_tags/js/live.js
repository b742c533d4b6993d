// Decisions without leaving the page: the forms of a region are sent as they are, and the region
// is then shown as the server has it. Keys press the buttons of the row that has the focus.

const KEYS = { a: "accept", r: "reject", w: "withdraw", u: "undo" };

const region = () => document.querySelector("[data-fst-live]");
const rows = () => [...region().querySelectorAll("[data-fst-row]")];

function say(text, isError) {
  const place = document.getElementById("fst-said");
  place.classList.toggle("fst-said-error", isError);
  place.textContent = text;
}

function focusRow(row) {
  if (!row) return;
  for (const each of rows()) each.tabIndex = each === row ? 0 : -1;
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

function current() {
  return document.activeElement?.closest?.("[data-fst-row]") ?? null;
}

function prepare() {
  rows().forEach((row, index) => { row.tabIndex = index ? -1 : 0; });
}

// What is being typed while the answer to another form comes, and where.
function typed(form) {
  const box = document.activeElement;
  if (!box?.matches("input[type=text], input[type=number]") || !region().contains(box)) return null;
  if (form.contains(box) && !box.closest(".fst-add")) return null;
  const row = box.closest("[data-fst-row]");
  const place = row ? `[data-fst-row="${CSS.escape(row.dataset.fstRow)}"]` : ".fst-add";
  return { place: `${place} input[name="${box.name}"]`, value: box.value };
}

function show(fresh, key, index, kept) {
  region().replaceWith(document.importNode(fresh, true));
  prepare();
  const box = kept && region().querySelector(kept.place);
  if (box) {
    box.value = kept.value;
    box.focus();
    return;
  }
  if (index < 0) return;
  const there = rows();
  focusRow(there.find((row) => row.dataset.fstRow === key) ?? there[Math.min(index, there.length - 1)]);
}

async function send(form, button) {
  const before = region();
  if (before.getAttribute("aria-busy") === "true") return;
  const row = button?.closest("[data-fst-row]") ?? current();
  const index = row ? rows().indexOf(row) : button?.name === "undo" ? 0 : -1;
  before.setAttribute("aria-busy", "true");
  const said = new FormData(form, button);
  const added = button?.name === "add" ? form.querySelector("[type=text]") : null;
  if (added) added.value = ""; // for the next one, while this one is on its way
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: said });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-fst-live]");
    if (!fresh) throw new Error("no region");
    const moved = current(); // somebody went on to another row meanwhile
    const place = moved && moved !== row ? moved : row;
    show(fresh, place?.dataset.fstRow, place === row ? index : rows().indexOf(moved), typed(form));
    if (button?.name === "add") region().querySelector(".fst-add [type=text]")?.focus();
    const told = [...page.querySelectorAll(".messagelist li")];
    const failed = told.some((item) => item.classList.contains("error"));
    say(told.map((item) => item.textContent.trim()).join(" "), failed);
  } catch {
    before.removeAttribute("aria-busy");
    if (added && !added.value) added.value = said.get(added.name);
    say(before.dataset.fstFailed, true);
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || !form.closest("[data-fst-live]")) return;
  event.preventDefault();
  send(form, event.submitter);
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
    // Undoing an undoing brings a decision back: pressed again, the key goes further back instead.
    const place = event.key === "u" ? region() : row;
    place?.querySelector(`button[name=${KEYS[event.key]}]:not([data-fst-redo])`)?.click();
  } else {
    return;
  }
  event.preventDefault();
});

prepare();
