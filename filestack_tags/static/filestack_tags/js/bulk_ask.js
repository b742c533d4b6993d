// Show only the fields of the selected action.

const action = document.querySelector("#id_action");

function show() {
  for (const field of document.querySelectorAll("[data-fst-actions]")) {
    const actions = field.dataset.fstActions.split(" ");
    field.closest(".form-row").hidden = !actions.includes(action.value);
  }
}

if (action) {
  action.addEventListener("change", show);
  show();
}
