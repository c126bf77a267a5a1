// Elements, text and listeners. Owns: nothing that outlives its scope. Never: innerHTML, inline handlers (a gateway may
// forbid both).
import type { Scope } from "@evenkeel/client";

type Attribute = string | number | boolean | undefined;
type Child = Node | string;

/** An element. `true` sets an attribute without value, `false` and undefined leave it out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: { readonly [name: string]: Attribute } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/** The same for SVG. */
export function s<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: { readonly [name: string]: Attribute } = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

export function setAttributes(element: Element, attributes: { readonly [name: string]: Attribute }): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value === true ? "" : value))
      element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Sets a text if it is another: what does not change is not laid out anew. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Listens until the scope ends. */
export function listen<T extends Event = Event>(
  scope: Scope,
  target: EventTarget,
  type: string,
  call: (event: T) => void,
): void {
  const hear = (event: Event): void => call(event as T);
  target.addEventListener(type, hear);
  scope.defer(() => target.removeEventListener(type, hear));
}

/** Calls every so many ms until the scope ends. */
export function every(scope: Scope, ms: number, call: () => void): void {
  const timer = setInterval(call, ms);
  scope.defer(() => clearInterval(timer));
}

/** A titled part of a page. */
export function card(title: string, name: string, ...children: Child[]): HTMLElement {
  const heading = h("h2", { id: `${name}-title` }, title);
  return h("section", { class: `card ${name}`, "aria-labelledby": heading.id }, heading, ...children);
}

/** Makes a list of elements as long as `count`, reusing those that are there. */
export function resize<E extends Element>(parent: Element, kept: E[], count: number, make: (index: number) => E): void {
  while (kept.length > count) kept.pop()?.remove();
  while (kept.length < count) {
    const element = make(kept.length);
    kept.push(element);
    parent.append(element);
  }
}
