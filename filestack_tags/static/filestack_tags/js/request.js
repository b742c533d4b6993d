// Send requests to this site. If the session has ended, the page shows it, with a login link that
// returns to the page.

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

// The header tells the server to answer 401 instead of redirecting to the login page.
export async function request(url, options = {}) {
  const headers = { ...options.headers, "X-Requested-With": "XMLHttpRequest" };
  const response = await fetch(url, { ...options, headers, credentials: "same-origin" });
  if (response.status === 401) {
    const reply = await response.json();
    show(reply);
    throw new LoggedOut(reply.error);
  }
  document.getElementById("fst-logged-out")?.remove(); // the user has logged in in another tab
  return response;
}
