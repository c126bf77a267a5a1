// The dashboard: one session, the bar, and the page that the address names.
// Owns: which page is open, its scope. Never: what a page shows.
import { createSession, type Scope, type Session } from "@evenkeel/client";
import "uplot/dist/uPlot.min.css";
import "./style/tokens.css";
import "./style/frame.css";
import "./style/parts.css";
import { devicePage } from "./device/page.js";
import { listen } from "./dom.js";
import { FleetFeed } from "./fleet/feed.js";
import { fleetPage } from "./fleet/page.js";
import type { Context } from "./page.js";
import { routeOf } from "./route.js";
import { shell } from "./shell.js";
import { ThemeChoice } from "./theme.js";
import { keptToken } from "./token.js";

declare global {
  /** For the console and the tests: what is held, and by whom. */
  var evenkeel: { readonly session: Session } | undefined;
}

function start(app: HTMLElement): void {
  const address = new URL("v1/live", location.href.split("#")[0]);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const token = keptToken();
  const session = createSession({
    url: address.href,
    client: "dashboard",
    ...(token === undefined ? {} : { token: () => token }),
  });
  const theme = new ThemeChoice();
  const { main, announce } = shell(app, session, theme);
  const context: Context = { session, theme, announce, feed: new FleetFeed(session.scope) };
  let scope: Scope | undefined;
  const open = (focus: boolean): void => {
    scope?.dispose();
    scope = session.scope.child("page");
    main.replaceChildren();
    const route = routeOf(location.hash);
    if (route.page === "device") devicePage(scope, main, context, route.id);
    else fleetPage(scope, main, context);
    // Keyboard and screen reader follow to the new page; a first load leaves them where they are.
    if (focus) {
      window.scrollTo(0, 0);
      main.querySelector<HTMLElement>("h1")?.focus();
    }
  };
  listen(session.scope, window, "hashchange", () => open(true));
  open(false);
  globalThis.evenkeel = { session };
}

start(document.getElementById("app") as HTMLElement);
