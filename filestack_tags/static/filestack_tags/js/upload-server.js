// Requests of the upload page to this site.

import { LoggedOut, request } from "./request.js";

/** An error response, as a message for the user. */
export class Refused extends Error {}

export class Server {
  /** `urls` and `words` are data of the form; `token` returns the CSRF token. */
  constructor(urls, words, token) {
    this.urls = urls;
    this.words = words;
    this.token = token;
  }

  permit() {
    return this.#ask(this.urls.permit, { method: "POST" });
  }

  async stored(facts) {
    const body = new URLSearchParams(facts);
    const { assets } = await this.#ask(this.urls.stored, { method: "POST", body });
    return assets[0];
  }

  async tags(ids) {
    const query = new URLSearchParams(ids.map((id) => ["id", id]));
    return (await this.#ask(`${this.urls.tags}?${query}`)).assets;
  }

  async #ask(url, options = {}) {
    const headers = { Accept: "application/json", "X-CSRFToken": this.token() };
    let response;
    try {
      response = await request(url, { ...options, headers });
    } catch (error) {
      throw new Refused(error instanceof LoggedOut ? error.message : this.words.textServer);
    }
    const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
    // After a new login in another tab, the server rejects this page's CSRF token.
    if (!isJson) throw new Refused(response.status < 500 ? this.words.textLogin : this.words.textServer);
    const said = await response.json();
    if (!response.ok) throw new Refused(said.error);
    return said;
  }
}
