// What stands around every page: the bar with the way home, the search, the connection and the theme; the line that
// says when figures do not move; the voice for screen readers. Owns: the elements of the bar. Never: a topic.
import type { Session } from "@evenkeel/client";
import { every, h, listen, s, setAttributes, setText } from "./dom.js";
import { clock } from "./format.js";
import { hashOf } from "./route.js";
import { nextTheme, type ThemeChoice } from "./theme.js";
import { forgetToken, keptToken, tokenDialog } from "./token.js";
import { connectionOf, type Connection } from "./words.js";

export interface Shell {
  /** Where pages are put. */
  readonly main: HTMLElement;
  /** Says something to screen readers, when they have time. */
  readonly announce: (text: string) => void;
}

const ACTION_LABELS = { none: "", retry: "Try now", connect: "Connect", token: "Enter token" } as const;

const THEME_LABELS = { system: "Auto", light: "Light", dark: "Dark" } as const;

export function shell(app: HTMLElement, session: Session, theme: ThemeChoice): Shell {
  const main = h("main", { id: "main", tabindex: "-1" });
  const voice = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  const notice = h("div", { class: "notice", hidden: true });
  const askToken = tokenDialog(app);
  app.prepend(
    h("a", { class: "skip", href: "#main" }, "Skip to the page"),
    h(
      "header",
      { class: "bar" },
      home(),
      search(session),
      badge(session, notice, askToken, announce),
      themeButton(session, theme),
      ...signOut(),
    ),
    h("section", { "aria-label": "Connection" }, notice, voice),
    main,
  );
  // The address names a page, so the link must move the focus itself.
  listen(session.scope, app.querySelector(".skip") as Element, "click", (event) => {
    event.preventDefault();
    main.focus();
  });
  function announce(text: string): void {
    setText(voice, text);
  }
  return { main, announce };
}

function home(): HTMLElement {
  const mark = s(
    "svg",
    { class: "mark", viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("path", { d: "M4 19h24M8 19c1 5 4 7 8 7s7-2 8-7M16 5v10M16 6l7 9h-7" }),
  );
  return h("a", { class: "home", href: hashOf({ page: "fleet" }) }, mark, h("span", {}, "Evenkeel"));
}

function search(session: Session): HTMLElement {
  const input = h("input", {
    type: "search",
    name: "device",
    "aria-label": "Open a device by its id",
    placeholder: "Device, e.g. bowl/0001",
    autocomplete: "off",
    spellcheck: "false",
  });
  const form = h("form", { class: "search", role: "search" }, input, h("button", { type: "submit" }, "Open"));
  listen(session.scope, form, "submit", (event) => {
    event.preventDefault();
    const id = input.value.trim();
    if (id === "") return input.focus();
    input.value = "";
    location.hash = hashOf({ page: "device", id });
  });
  return form;
}

function badge(
  session: Session,
  notice: HTMLElement,
  askToken: () => void,
  announce: (text: string) => void,
): HTMLElement {
  const label = h("span", { class: "label" });
  const detail = h("span", { class: "detail" });
  const button = h("button", { type: "button", class: "quiet", hidden: true });
  const element = h("div", { class: "badge" }, h("span", { class: "dot" }), label, detail, button);
  let said: Connection | undefined;
  let lostAt: number | undefined;
  const act = { none: () => undefined, retry: again, connect: again, token: askToken };
  function again(): void {
    session.disconnect();
    session.connect();
  }
  function show(): void {
    const now = connectionOf(session.status(), performance.now());
    setAttributes(element, { "data-tone": now.tone, title: now.detail });
    setText(label, now.label);
    setText(detail, now.tone === "good" ? "" : now.detail);
    setText(button, ACTION_LABELS[now.action]);
    button.hidden = now.action === "none";
    if (now.moving) lostAt = undefined;
    else lostAt ??= Date.now();
    // The first moments of a page are no loss: nothing is on it that could be old.
    notice.hidden = now.moving || session.diagnostics().counts.transitions.connected === 0;
    if (!notice.hidden)
      setText(
        notice,
        `Not connected since ${clock(lostAt)}. What you see is the last that was known; it does not move.`,
      );
    if (said?.label !== now.label) announce(`${now.label}. ${now.detail}`);
    if (now.action === "token" && said?.action !== "token") askToken();
    said = now;
  }
  session.scope.defer(session.onStatus(show));
  listen(session.scope, button, "click", () => act[said?.action ?? "none"]());
  every(session.scope, 1_000, show);
  queueMicrotask(show);
  return element;
}

function themeButton(session: Session, theme: ThemeChoice): HTMLElement {
  const button = h("button", { type: "button", class: "quiet theme" });
  const show = (): void => {
    setText(button, THEME_LABELS[theme.theme]);
    button.setAttribute(
      "aria-label",
      `Colours: ${THEME_LABELS[theme.theme]}. Change to ${THEME_LABELS[nextTheme(theme.theme)]}`,
    );
  };
  listen(session.scope, button, "click", () => {
    theme.choose(nextTheme(theme.theme));
    show();
  });
  show();
  return button;
}

/** Only where there is something to forget. */
function signOut(): HTMLElement[] {
  if (keptToken() === undefined) return [];
  const button = h("button", { type: "button", class: "quiet" }, "Forget token");
  button.addEventListener("click", () => {
    forgetToken();
    location.reload();
  });
  return [button];
}
