// Keys lead from an asset to the one before or after it in the result; not while something is typed,
// and not before the last decision has reached the server.

const RELS = { n: "next", p: "prev" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea")) return;
  if (document.querySelector("[data-fst-live][aria-busy]")) return;
  const link = document.querySelector(`.fst-beside a[rel=${RELS[event.key]}]`);
  if (!link) return;
  event.preventDefault();
  link.click();
});
