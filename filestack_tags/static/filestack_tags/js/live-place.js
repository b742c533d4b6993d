// Keep the user's place when the region of decisions is replaced: the focused row, or the focused box
// and its text.

const NEXT_TAG = ".fst-add [type=text]";

export const region = () => document.querySelector("[data-fst-live]");
export const rows = () => [...region().querySelectorAll("[data-fst-row]")];
export const current = () => document.activeElement?.closest?.("[data-fst-row]") ?? null;
export const rowOf = (key) => rows().find((row) => row.dataset.fstRow === key);
export const nextTag = () => region().querySelector(NEXT_TAG);


const isUndecided = (row) => !/\bfst-row-[1-9]/.test(row.className);
const undecided = () => new Set(rows().filter(isUndecided).map((row) => row.dataset.fstRow));

// Return the next undecided row below, otherwise the first one above. `pending` are rows whose
// decision has not been answered yet.
export function nextUndecided(row, pending) {
  const all = rows();
  const start = all.indexOf(row) + 1;
  return [...all.slice(start), ...all.slice(0, start)]
    .find((each) => each !== row && isUndecided(each) && !pending.has(each.dataset.fstRow));
}

export function focusRow(row) {
  if (!row) return;
  for (const each of rows()) each.tabIndex = each === row ? 0 : -1;
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

export function prepare() {
  rows().forEach((row, index) => { row.tabIndex = index ? -1 : 0; });
}

// Return the text typed since the form was sent: in the focused box, and as the next tag.
function typed(sent) {
  const focused = document.activeElement;
  const isKept = (box) => box === focused
    ? !sent.contains(box) || box.closest(".fst-add")
    : box.matches(NEXT_TAG) && box.value !== box.defaultValue;
  return [...region().querySelectorAll("input[type=text], input[type=number]")]
    .filter(isKept)
    .map((box) => {
      const key = box.closest("[data-fst-row]")?.dataset.fstRow;
      const place = key === undefined ? ".fst-add" : `[data-fst-row="${CSS.escape(key)}"]`;
      return {
        place: `${place} input[name="${box.name}"]`,
        value: box.value,
        selection: [box.selectionStart, box.selectionEnd, box.selectionDirection],
        hasFocus: box === focused,
      };
    });
}

// Show the new region. The focus stays on its element if that still exists. Otherwise it moves to the
// server's question, to the row that is undecided after an undo, or to the row in the same position.
// After a decision, `pending` is given, and the decided row passes the focus on.
export function exchange(fresh, { form, name, key }, pending) {
  const focused = document.activeElement;
  const isElsewhere = focused && focused !== document.body && !region().contains(focused);
  const isAdding = name === "add" && !current();
  const here = current() ?? (key === undefined ? null : rowOf(key));
  const index = here ? rows().indexOf(here) : name === "undo" ? 0 : -1;
  const kept = typed(form);
  const before = undecided();
  region().replaceWith(document.importNode(fresh, true));
  prepare();
  let isPlaced = isElsewhere;
  for (const { place, value, selection, hasFocus } of kept) {
    const box = region().querySelector(place);
    if (!box) continue;
    box.value = value;
    if (!hasFocus) continue;
    box.focus();
    if (selection[0] !== null) box.setSelectionRange(...selection); // number inputs have no selection
    isPlaced = true;
  }
  if (isPlaced) return;
  const question = region().querySelector("[data-fst-question] button");
  const undone = name === "undo"
    && rows().find((row) => isUndecided(row) && !before.has(row.dataset.fstRow));
  if (question) question.focus();
  else if (undone) focusRow(undone);
  else if (isAdding) nextTag()?.focus();
  else if (index >= 0) {
    const there = rows();
    const row = rowOf(here?.dataset.fstRow) ?? there[Math.min(index, there.length - 1)];
    const isDone = pending && row?.dataset.fstRow === key && !isUndecided(row);
    focusRow((isDone && nextUndecided(row, pending)) || row);
  }
}
