// Light, dark, or as the system says. Owns: the choice, kept in local storage where that is allowed.
const KEY = "evenkeel.theme";
const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const nextTheme = (theme: Theme): Theme => THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";

export class ThemeChoice {
  #theme: Theme;
  readonly #listeners = new Set<() => void>();
  readonly #dark = matchMedia("(prefers-color-scheme: dark)");

  constructor() {
    const kept = read();
    this.#theme = THEMES.find((theme) => theme === kept) ?? "system";
    this.#dark.addEventListener("change", () => {
      this.#show();
      this.#tell();
    });
    this.#show();
  }

  get theme(): Theme {
    return this.#theme;
  }

  choose(theme: Theme): void {
    this.#theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Storage may be forbidden: the choice then lasts as long as the page.
    }
    this.#show();
    this.#tell();
  }

  /** Calls after each change of colours. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #show(): void {
    const system = this.#dark.matches ? "dark" : "light";
    document.documentElement.dataset["theme"] = this.#theme === "system" ? system : this.#theme;
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
