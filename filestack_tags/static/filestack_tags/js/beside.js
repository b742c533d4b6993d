// Keys open the previous or next asset of the result, but not while the user types, and only after
// the server has answered the last decision.

const RELS = { n: "next", p: "prev" };

let wanted = null; // the link to follow after pending decisions

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea")) return;
  const link = document.querySelector(`.fst-beside a[rel=${RELS[event.key]}]`);
  if (link) {
    if (document.querySelector("[data-fst-live][aria-busy]")) wanted = link;
    else link.click();
  } else if (!wanted || event.key.length > 1) {
    return; // otherwise the key belongs to the next asset
  }
  event.preventDefault();
});

document.addEventListener("fst-settled", (event) => {
  if (!event.detail.failed) wanted?.click();
  wanted = null;
});
