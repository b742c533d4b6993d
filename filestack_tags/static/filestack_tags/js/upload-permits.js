// Upload policies: one is fetched for each batch, and again before it expires.

/** Seconds for which a policy must still be valid when an upload starts. */
const MARGIN = 60;

export class Permits {
  #current = null;
  #until = 0;

  constructor(fetchOne) {
    this.fetchOne = fetchOne;
  }

  /** Return the permit of this batch; simultaneous calls share one request. */
  get() {
    if (!this.#current || performance.now() > this.#until) {
      this.#until = Infinity;
      const wanted = this.fetchOne().then(
        (permit) => {
          const life = permit.expires_in * 1000;
          this.#until = performance.now() + Math.max(life - MARGIN * 1000, life / 2);
          return permit;
        },
        (error) => {
          if (this.#current === wanted) this.drop();
          throw error;
        },
      );
      this.#current = wanted;
    }
    return this.#current;
  }

  /** Discard the permit: a new batch starts, or Filestack rejected this one. */
  drop() {
    this.#current = null;
  }
}
