// Owns how an answer is checked before anybody draws it. Pure; what it finds is a path and what was expected there.

/** Returns null for a value that fits, else where and what was expected. */
export type Shape = (value: unknown, path: string) => string | null;

const is = (fits: (value: unknown) => boolean, words: string): Shape => (value, path) => (fits(value) ? null : `${path}: expected ${words}, got ${bounded(value)}`);

export const number = is((value) => typeof value === "number" && Number.isFinite(value), "a number");
export const text = is((value) => typeof value === "string", "text");
export const yesOrNo = is((value) => typeof value === "boolean", "true or false");

export const oneOf = (...words: readonly string[]): Shape => is((value) => typeof value === "string" && words.includes(value), words.join(" or "));

export const orNull = (shape: Shape): Shape => (value, path) => (value === null ? null : shape(value, path));

/** A list that is very long is not taken: it would freeze the page. */
const MOST_ITEMS = 100_000;

export const list = (shape: Shape): Shape => (value, path) => {
  if (!Array.isArray(value)) return `${path}: expected a list, got ${bounded(value)}`;
  if (value.length > MOST_ITEMS) return `${path}: expected at most ${MOST_ITEMS} items, got ${value.length}`;
  for (let index = 0; index < value.length; index += 1) {
    const problem = shape(value[index], `${path}[${index}]`);
    if (problem !== null) return problem;
  }
  return null;
};

export const pair = (shape: Shape): Shape => (value, path) =>
  Array.isArray(value) && value.length === 2 ? list(shape)(value, path) : `${path}: expected a pair, got ${bounded(value)}`;

export const record = (fields: Readonly<Record<string, Shape>>): Shape => (value, path) => {
  if (!isObject(value)) return `${path}: expected an object, got ${bounded(value)}`;
  for (const [name, shape] of Object.entries(fields)) {
    const problem = Object.hasOwn(value, name) ? shape(value[name], `${path}.${name}`) : `${path}.${name}: expected a value, got none`;
    if (problem !== null) return problem;
  }
  return null;
};

/** Any names, each with such a value. */
export const named = (shape: Shape): Shape => (value, path) => {
  if (!isObject(value)) return `${path}: expected an object, got ${bounded(value)}`;
  for (const [name, inner] of Object.entries(value)) {
    const problem = shape(inner, `${path}.${name}`);
    if (problem !== null) return problem;
  }
  return null;
};

/** A further condition on what already has the right shape. */
export const also = (shape: Shape, condition: (value: never) => string | null): Shape => (value, path) => {
  const problem = shape(value, path);
  if (problem !== null) return problem;
  const more = condition(value as never);
  return more === null ? null : `${path}: ${more}`;
};

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bounded(value: unknown): string {
  if (value === undefined) return "nothing";
  const words = JSON.stringify(value) ?? typeof value;
  return words.length > 60 ? `${words.slice(0, 60)}…` : words;
}
