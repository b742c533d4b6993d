// Keys lead from an asset to the one before or after it in the result; not while something is typed,
// and not before the last decision has reached the server.

const RELS = { n: "next", p: "prev" };

let wanted = null; // the link that is followed when the decisions have been made

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea")) return;
  const link = document.querySelector(`.fst-beside a[rel=${RELS[event.key]}]`);
  if (link) {
    if (document.querySelector("[data-fst-live][aria-busy]")) wanted = link;
    else link.click();
  } else if (!wanted || event.key.length > 1) {
    return; // else it is meant for the asset that comes next
  }
  event.preventDefault();
});

document.addEventListener("fst-settled", (event) => {
  if (!event.detail.failed) wanted?.click();
  wanted = null;
});
