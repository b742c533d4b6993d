// Poll the tags of uploaded files, with growing delays, until all files are done.

const FIRST = 500; // milliseconds
const GROWTH = 1.5;
const LONGEST = 10_000;
const PATIENCE = 15 * 60_000;
const MAX_IDS = 100; // in one request

export class TagWatch {
  #open = new Map(); // id → last known state
  #timer = null;
  #delay = FIRST;
  #since = 0;

  /** `ask(ids)` returns rows, `onRow(row)` shows one, `onGivenUp()` reports a time-out. */
  constructor(ask, onRow, onGivenUp) {
    Object.assign(this, { ask, onRow, onGivenUp });
  }

  add(row) {
    if (row.settled) return;
    this.#open.set(row.id, row.state);
    this.#again();
  }

  #again() {
    this.#delay = FIRST;
    this.#since = performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), this.#delay);
  }

  async #look() {
    const ids = [...this.#open.keys()].slice(0, MAX_IDS);
    let changed = false;
    try {
      for (const row of await this.ask(ids)) {
        if (this.#open.get(row.id) === row.state) continue;
        changed = true;
        if (row.settled) this.#open.delete(row.id);
        else this.#open.set(row.id, row.state);
        this.onRow(row);
      }
    } catch {
      // Retried later; running uploads report errors of the site.
    }
    if (!this.#open.size) return;
    if (changed) return this.#again();
    if (performance.now() - this.#since > PATIENCE) return this.onGivenUp();
    this.#delay = Math.min(this.#delay * GROWTH, LONGEST);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), this.#delay);
  }
}
