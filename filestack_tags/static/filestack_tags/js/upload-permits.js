// Which policy does a file go with? One is fetched for a batch, and again before it expires.

/** Seconds a policy should still be good for when a file is begun. */
const MARGIN = 60;

export class Permits {
  #current = null;
  #until = 0;

  constructor(fetchOne) {
    this.fetchOne = fetchOne;
  }

  /** Return the permit of this batch; files that ask together share one request. */
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

  /** Have the next file fetch another one: a batch begins, or Filestack refused this one. */
  drop() {
    this.#current = null;
  }
}
