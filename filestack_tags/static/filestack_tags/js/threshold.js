// Show how many assets remain at the threshold of the slider or the number field, without a request.
// For the global minimum, also show how many tags remain, and the line for the settings.

const page = document.querySelector(".fst-threshold");
const slider = page.querySelector("#fst-slider");
const field = page.querySelector("input[name=minimum]");
const output = page.querySelector("output");
const rows = [...page.querySelectorAll("tr[data-score]")];

const setting = page.querySelector("[data-fst-minimum]");

function show(minimum) {
  let stay = 0;
  let assets = 0;
  for (const row of rows) {
    const below = Number(row.dataset.score) < minimum;
    row.classList.toggle("fst-below", below);
    if (below) continue;
    stay += Number(row.dataset.count);
    assets += Number(row.dataset.assets ?? 0);
  }
  const write = (number) => number.toLocaleString(document.documentElement.lang || undefined);
  output.textContent = output.dataset.text
    .replace("%(stay)s", write(stay))
    .replace("%(total)s", write(Number(page.dataset.total)))
    .replace("%(assets)s", write(assets))
    .replace("%(all)s", write(Number(page.dataset.assets ?? 0)));
  if (setting) setting.textContent = String(minimum);
}

if (slider) slider.hidden = false;
slider?.addEventListener("input", () => {
  field.value = slider.value;
  show(Number(slider.value));
});
field?.addEventListener("input", () => {
  const minimum = field.value === "" ? Number(page.dataset.least) : Number(field.value);
  slider.value = minimum;
  show(minimum);
});
