// Owns the Lab's colour scales. Ends come from the style sheet, so that light and dark have their own.

export type Rgb = readonly [number, number, number];

export interface Palette {
  readonly negative: Rgb;
  readonly positive: Rgb;
  readonly zero: Rgb;
  readonly strong: Rgb;
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly paper: string;
  readonly accent: string;
}

const LIGHT = { negative: "#2166ac", positive: "#b2182b", zero: "#f1efe9", strong: "#1b4f7a", ink: "#24272c", muted: "#595f69", line: "#dbd7cd", paper: "#ffffff", accent: "#1b5e83" };

/** The colours that hold where this element stands. */
export function paletteOf(element: Element): Palette {
  const style = getComputedStyle(element);
  const read = (name: string, otherwise: string): string => style.getPropertyValue(name).trim() || otherwise;
  const rgb = (name: string, otherwise: string): Rgb => parseHex(read(name, otherwise)) ?? parseHex(otherwise) ?? [0, 0, 0];
  return {
    negative: rgb("--lab-negative", LIGHT.negative),
    positive: rgb("--lab-positive", LIGHT.positive),
    zero: rgb("--lab-zero", LIGHT.zero),
    strong: rgb("--lab-strong", LIGHT.strong),
    ink: read("--lab-ink", LIGHT.ink),
    muted: read("--lab-muted", LIGHT.muted),
    line: read("--lab-line", LIGHT.line),
    paper: read("--lab-raised", LIGHT.paper),
    accent: read("--lab-mode", LIGHT.accent),
  };
}

export function parseHex(text: string): Rgb | null {
  const short = /^#([\da-f])([\da-f])([\da-f])$/i.exec(text);
  const digits = short ? short.slice(1).map((digit) => digit + digit) : /^#([\da-f]{2})([\da-f]{2})([\da-f]{2})$/i.exec(text)?.slice(1);
  if (!digits) return null;
  const [red = 0, green = 0, blue = 0] = digits.map((pair) => parseInt(pair, 16));
  return [red, green, blue];
}

/** The colour of a value: `most` and beyond have the strongest. */
export function colourOf(value: number, scale: "diverging" | "sequential", most: number, palette: Palette): Rgb {
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  const end = scale === "sequential" ? palette.strong : value < 0 ? palette.negative : palette.positive;
  // Small values stay visible: the eye sees steps near white worse than near the end.
  return blend(palette.zero, end, share ** 0.8);
}

export function blend(from: Rgb, to: Rgb, share: number): Rgb {
  const at = (index: 0 | 1 | 2): number => Math.round(from[index] + (to[index] - from[index]) * share);
  return [at(0), at(1), at(2)];
}

export function css(rgb: Rgb): string {
  return `rgb(${rgb[0]} ${rgb[1]} ${rgb[2]})`;
}

/** Ink that can be read on this ground. */
export function inkOn(ground: Rgb): string {
  const linear = (part: number): number => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const light = 0.2126 * linear(ground[0]) + 0.7152 * linear(ground[1]) + 0.0722 * linear(ground[2]);
  return light > 0.18 ? "#15181c" : "#ffffff";
}
