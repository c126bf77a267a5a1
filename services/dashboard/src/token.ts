// The credential: asked for when the gateway wants one, kept for this tab and no longer.
// Owns: one key of session storage and the dialog. Never: local storage, an address, a log.
import { h } from "./dom.js";

const KEY = "evenkeel.token";

export function keptToken(): string | undefined {
  try {
    return sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}

/** False if this browser keeps nothing: then the token would be asked for without end. */
function keep(token: string): boolean {
  try {
    sessionStorage.setItem(KEY, token);
    return true;
  } catch {
    return false;
  }
}

export function forgetToken(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Nothing was kept.
  }
}

/** Asks for a token and loads the page anew with it. The answer shows the dialog, once at a time. */
export function tokenDialog(parent: HTMLElement): () => void {
  const input = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const problem = h("p", { class: "problem", role: "alert" });
  const cancel = h("button", { type: "button", class: "quiet" }, "Not now");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "token-title" }, "This gateway asks for a token"),
    h("p", {}, "It is kept in this tab only and forgotten when the tab is closed."),
    h("label", { for: "token" }, "Token"),
    input,
    problem,
    h("div", { class: "buttons" }, cancel, h("button", { type: "submit", class: "primary" }, "Connect")),
  );
  const dialog = h("dialog", { "aria-labelledby": "token-title" }, form);
  parent.append(dialog);
  cancel.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = input.value.trim();
    if (token === "") problem.textContent = "A token has at least one character.";
    else if (keep(token)) location.reload();
    else problem.textContent = "This browser forbids session storage: allow it for this site.";
  });
  return () => {
    problem.textContent = keptToken() === undefined ? "" : "The token in use was not accepted.";
    if (!dialog.open) dialog.showModal();
  };
}
