// Owns building elements from values. Refuses HTML strings: text becomes text nodes.

export type Child = Node | string;
type Attributes = Record<string, string | boolean | undefined>;

/** Make an element; `true` sets a bare attribute, `false` and `undefined` leave it out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  run: "M4 2.5v11l9-5.5z",
  stop: "M3.5 3.5h9v9h-9z",
  reset: "M8 3a5 5 0 1 0 4.9 6h-1.6A3.5 3.5 0 1 1 8 4.5V7l4-3.2L8 .5z",
  above: "M8 1 13 6.5H9.5V10h-3V6.5H3zM3 12h10v2H3z",
  more: "M8 2a1.6 1.6 0 1 0 .01 0zM8 6.4a1.6 1.6 0 1 0 .01 0zM8 10.8a1.6 1.6 0 1 0 .01 0z",
  edit: "M11.3 1.6 14.4 4.7 5.6 13.5 2 14l.5-3.6zM10.2 4l1.8 1.8",
  chat: "M2 2.5h12v8.5H7.5L4 14v-3H2z",
  close: "M3.7 2.3 8 6.6l4.3-4.3 1.4 1.4L9.4 8l4.3 4.3-1.4 1.4L8 9.4l-4.3 4.3-1.4-1.4L6.6 8 2.3 3.7z",
} as const;

export type IconName = keyof typeof ICONS;

/** A decorative picture for a button that also has words. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "tl-icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** For the `default` of a switch that names every case: a new case stops the compiler here. */
export function unreachable(value: never): never {
  throw new Error(`a case is missing: expected none, got ${JSON.stringify(value)}`);
}
