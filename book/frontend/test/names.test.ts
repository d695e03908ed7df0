import { describe, expect, test } from "vitest";
import { namesOf } from "../src/names/cell_names";

const both = (code: string): [string[], string[]] => {
  const { defines, uses } = namesOf(code);
  return [[...defines].sort(), [...uses].sort()];
};

describe("the names of a cell", () => {
  test.each<[string, string[], string[]]>([
    ["a, b = c = f(x)[i]", ["a", "b", "c"], ["f", "i", "x"]],
    ["x = x + 1", ["x"], ["x"]],
    ["x += 1", [], ["x"]],
    ["x = 1\nx += 1\nprint(x)", ["x"], []],
    ["x: T = 3", ["x"], ["T"]],
    ["a.b = c", [], ["a", "c"]],
    ["a[i] = c", [], ["a", "c", "i"]],
    ["*a, (b, c) = d", ["a", "b", "c"], ["d"]],
    ["if (n := m): n", ["n"], ["m"]],
    ["for i, j in xs:\n    y = i", ["i", "j", "y"], ["xs"]],
    ["import a.b, c.d as e", ["a", "e"], []],
    ["from p.q import (r as s, t)", ["s", "t"], []],
    ["[x * k for x in xs if x > low]", [], ["k", "low", "xs"]],
    ["{k: v for k, v in d.items()}", [], ["d"]],
    ["sum(x for x in xs)", [], ["sum", "xs"]],
    ["f(name=value, *rest)", [], ["f", "rest", "value"]],
    ["with open(p) as f:\n    f.read()", ["f"], ["open", "p"]],
    ["try:\n    a\nexcept E as e:\n    e", ["e"], ["E", "a"]],
    ["lambda q, w=z: q + v", [], ["v", "z"]],
    ["f'{x} and {y!r}'", [], ["x", "y"]],
    ["class A(B, metaclass=M):\n    c = d", ["A"], ["B", "M", "d"]],
    ["match a:\n    case B(c):\n        c", ["c"], ["B", "a"]],
  ])("%s", (code, defines, uses) => {
    expect(both(code)).toEqual([defines, uses]);
  });

  test("a function's own names are its own, and what it reads later may be bound after it", () => {
    const code = "def f(a, *b, c: T = d, **e) -> R:\n    z = a + b\n    return z + w + late + c + e\nlate = 1";
    expect(both(code)).toEqual([["f", "late"], ["R", "T", "d", "w"].sort()]);
  });

  test("of code that is no Python are not guessed", () => {
    expect(namesOf("%matplotlib inline\nx = y").uses).toEqual([]);
  });
});
