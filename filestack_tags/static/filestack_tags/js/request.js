// Requests to this site. A session that ended is reported on the page, with a link to log in that
// leads back to it.

export class LoggedOut extends Error {}

function show({ error, login, text }) {
  const known = document.getElementById("fst-logged-out");
  const note = known ?? document.createElement("p");
  const link = document.createElement("a");
  link.href = `${login}?${new URLSearchParams({ next: location.pathname + location.search })}`;
  link.textContent = text;
  note.id = "fst-logged-out";
  note.className = "errornote";
  note.setAttribute("role", "alert");
  note.replaceChildren(error, " ", link);
  if (!known) (document.getElementById("content-main") ?? document.querySelector("main") ?? document.body).prepend(note);
  note.scrollIntoView({ block: "nearest" });
}

// The server recognizes a script by the header, and answers 401 instead of leading to a login page.
export async function request(url, options = {}) {
  const headers = { ...options.headers, "X-Requested-With": "XMLHttpRequest" };
  const response = await fetch(url, { ...options, headers, credentials: "same-origin" });
  if (response.status === 401) {
    const reply = await response.json();
    show(reply);
    throw new LoggedOut(reply.error);
  }
  document.getElementById("fst-logged-out")?.remove(); // logged in again, in another tab
  return response;
}
