// The row of one file on the upload page, and its buttons.

export class Item {
  state = "waiting"; // sending, registering, stored, failed, cancelling, cancelled, rejected

  constructor(file, words, template, onAsk) {
    this.file = file;
    this.words = words;
    this.element = template.content.cloneNode(true).firstElementChild;
    this.#part(".fst-name").textContent = file.name;
    this.#part("progress").setAttribute("aria-label", file.name);
    for (const button of this.element.querySelectorAll("button")) {
      const verb = button.dataset.do;
      const label = verb === "cancel" ? words.textCancel : words.textRetry;
      button.textContent = label;
      button.setAttribute("aria-label", `${label}: ${file.name}`);
      button.addEventListener("click", () => onAsk[verb](this));
    }
    this.show("waiting");
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  show(state, text = this.words[`text${state[0].toUpperCase()}${state.slice(1)}`]) {
    this.state = state;
    this.element.dataset.state = state;
    this.#part(".fst-upload-status").textContent = text ?? "";
    const isOver = ["failed", "cancelled", "rejected"].includes(state);
    this.#part("progress").hidden = isOver;
    this.#swap("cancel", ["waiting", "sending"].includes(state));
    this.#swap("retry", state === "failed" || state === "cancelled");
    if (state === "waiting") this.progress(0);
  }

  progress(percent) {
    this.#part("progress").value = percent;
  }

  /** Show the file's asset, as rendered by the server. */
  showAsset(row) {
    const had = this.element.contains(document.activeElement);
    this.state = "stored";
    this.element.dataset.state = "stored";
    this.tagged = row.state === "tagged";
    this.#part(".fst-upload-sending").hidden = true;
    const place = this.#part(".fst-upload-asset");
    place.hidden = false;
    place.innerHTML = row.html;
    if (had) (place.querySelector("a") ?? this.#focusable()).focus();
  }

  #focusable() {
    this.element.tabIndex = -1;
    return this.element;
  }

  /** Show or hide a button; the focus moves from a hidden one to its replacement. */
  #swap(verb, isShown) {
    const button = this.#part(`[data-do=${verb}]`);
    const had = document.activeElement === button;
    button.hidden = !isShown;
    if (had && !isShown) {
      const other = this.element.querySelector("button:not([hidden])");
      (other ?? this.#focusable()).focus();
    }
  }
}
