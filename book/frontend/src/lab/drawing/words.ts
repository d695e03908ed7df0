// Owns how tokens and numbers are written in the Lab. Pure.

/** A token for a reader: spaces and line ends as signs, other invisible characters by their code. */
export function visible(token: string): string {
  if (token === "") return "∅";
  const signs = token.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll("\r", "␍");
  return signs.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u00a0\u2028\u2029]/gu, (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
}

/** A probability as the book writes it: 34%, 0.4%, <0.1%. */
export function percent(p: number): string {
  if (!Number.isFinite(p)) return "–";
  if (p > 0.9995 && p < 1) return ">99.9%";
  if (p >= 0.0995) return `${(100 * p).toFixed(0)}%`;
  if (p >= 0.001) return `${(100 * p).toFixed(1)}%`;
  return p > 0 ? "<0.1%" : "0%";
}

/** A number with its sign: +1.20, −0.35, 0.00. */
export function signed(value: number, digits = 2): string {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return value > 0 ? `+${text}` : `−${text}`;
}

/** A number without a forced sign, its minus a real one. */
export function plain(value: number, digits = 2): string {
  return signed(value, digits).replace(/^\+/, "");
}

/** A very small or large number: 3.1e−6. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  return size >= 0.001 && size < 10_000 ? plain(value, size >= 100 ? 0 : 3) : value.toExponential(1).replaceAll("-", "−");
}
