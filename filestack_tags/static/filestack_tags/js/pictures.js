// Replace a picture that cannot be loaded with a placeholder.

function missing(image, text) {
  const frame = document.createElement("span");
  frame.className = `${image.className} fst-no-picture`;
  frame.textContent = text;
  image.replaceWith(frame);
}

document.querySelectorAll("[data-fst-missing]").forEach((list) => {
  const text = list.dataset.fstMissing;
  list.querySelectorAll("img.fst-picture").forEach((image) => {
    if (image.complete && image.naturalWidth === 0) missing(image, text);
    else image.addEventListener("error", () => missing(image, text), { once: true });
  });
});
